/**
 * A git repository in a volume: isomorphic-git, as it is, works on `volume.fs` as it does on `node:fs`.
 *
 *   npm install isomorphic-git
 *   node git.mjs                                     where netseal is installed
 *   npx node --conditions=netseal-source git.mjs     in its own checkout
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import git from 'isomorphic-git';
import { createVolume, DirectoryStore, openVolume } from 'netseal';

const secret = { type: 'passphrase', passphrase: 'correct horse battery staple' };
const author = { name: 'Ada', email: 'ada@example.org' };
const folder = await mkdtemp(join(tmpdir(), 'netseal-example-'));
const store = await DirectoryStore.open(folder, { create: true });
try {
  await createVolume({ store, slots: [{ label: 'me', secret }] });
  const volume = await openVolume({ store, secrets: secret });
  try {
    const dir = '/project';
    const repository = { fs: { promises: volume.fs }, dir };
    await git.init({ ...repository, defaultBranch: 'main' });
    await volume.fs.mkdir(`${dir}/src`);
    await volume.fs.writeFile(`${dir}/README.md`, '# A project\n');
    await volume.fs.writeFile(`${dir}/src/main.js`, "console.log('one');\n");
    await git.add({ ...repository, filepath: ['README.md', 'src/main.js'] });
    const first = await git.commit({ ...repository, author, message: 'Begin' });

    await volume.fs.writeFile(`${dir}/src/main.js`, "console.log('two, and longer');\n");
    await git.add({ ...repository, filepath: 'src/main.js' });
    await git.commit({ ...repository, author, message: 'Say two' });

    for (const { oid, commit } of await git.log(repository)) {
      console.log(`${oid.slice(0, 7)} ${commit.message.trim()}`);
    }
    console.log(`status: ${await git.status({ ...repository, filepath: 'src/main.js' })}`);

    await git.checkout({ ...repository, ref: first });
    const text = await volume.fs.readFile(`${dir}/src/main.js`, 'utf8');
    const isSame = text === "console.log('one');\n";
    console.log(isSame ? 'the first version is checked out, the same as it was' : 'DIFFERENT');
    if (!isSame) process.exitCode = 1;
  } finally {
    await volume.close();
  }
} finally {
  await store.close();
  await rm(folder, { recursive: true });
}
