/**
 * Ceph with its S3 gateway on this machine: one monitor, one store of objects, one gateway, without passwords among them.
 * Debian: `apt-get install --no-install-recommends ceph-mon ceph-osd radosgw`.
 */

import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endDaemon, programPath, run, untilUp } from './run.ts';

/** `memstore` is gone when it ends. `bluestore` is a file, and survives any kill. */
export type RgwKind = 'memstore' | 'bluestore';

export interface Rgw {
  readonly endpoint: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export const RGW_PROGRAMS = [
  'ceph',
  'ceph-mon',
  'ceph-osd',
  'radosgw',
  'radosgw-admin',
  'monmaptool',
] as const;
const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'testsecret' } as const;
const DAEMONS = ['radosgw', 'osd.0', 'mon.a'] as const;

export const hasRgw = (): boolean => RGW_PROGRAMS.every(name => programPath(name) !== undefined);

/** Starts the servers in a folder, or starts them again. The gateway has `port`, the monitor the next one. */
export async function startRgw(folder: string, port: number, kind: RgwKind = 'memstore'): Promise<Rgw> {
  const config = join(folder, 'ceph.conf');
  const isNew = !existsSync(config);
  const ceph = (name: string, ...args: string[]): Promise<string> =>
    run(name, ['--conf', config, ...args], { CEPH_CONF: config });
  if (isNew) {
    const fsid = randomUUID();
    for (const name of ['mon', 'osd', 'run']) mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(config, configOf(folder, fsid, port, kind));
    writeFileSync(join(folder, 'keyring'), '');
    const map = join(folder, 'monmap');
    const address = `[v2:127.0.0.1:${port + 1}/0]`;
    await run('monmaptool', ['--create', '--clobber', '--fsid', fsid, '--addv', 'a', address, map]);
    await ceph('ceph-mon', '-i', 'a', '--mkfs', '--monmap', map);
  }
  await ceph('ceph-mon', '-i', 'a');
  if (isNew) {
    const id = randomUUID();
    await ceph('ceph', 'osd', 'new', id);
    await ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', id);
  }
  await ceph('ceph-osd', '-i', '0');
  if (isNew) {
    const keys = ['--access-key', CREDENTIALS.accessKeyId, '--secret-key', CREDENTIALS.secretAccessKey];
    await ceph('radosgw-admin', 'user', 'create', '--uid=test', '--display-name=test', ...keys);
  }
  await ceph('radosgw', '-n', 'client.rgw');
  const endpoint = `http://127.0.0.1:${port}`;
  await untilUp('the gateway', async () => (await fetch(endpoint)).ok);
  return { endpoint, credentials: CREDENTIALS };
}

export async function stopRgw(folder: string, signal?: NodeJS.Signals): Promise<void> {
  for (const name of DAEMONS) await endDaemon(join(folder, `${name}.pid`), signal);
}

/** One copy of everything, small numbers of groups, and no time lost with waiting. */
function configOf(folder: string, fsid: string, port: number, kind: RgwKind): string {
  return `[global]
fsid = ${fsid}
mon initial members = a
mon host = [v2:127.0.0.1:${port + 1}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = ${folder}/run
admin socket = ${folder}/run/$name.asok
log file = ${folder}/$name.log
pid file = ${folder}/$name.pid
crash dir = ${folder}/run
keyring = ${folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
[mon]
paxos propose interval = 0.05
paxos min wait = 0.01
mon warn on pool no redundancy = false
mon data = ${folder}/mon
[osd]
osd data = ${folder}/osd
osd objectstore = ${kind}
memstore device bytes = 4294967296
bluestore block size = 10737418240
osd memory target = 1073741824
osd class update on start = false
[client.rgw]
pid file = ${folder}/radosgw.pid
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw thread pool size = 64
rgw enable apis = s3, admin
`;
}
