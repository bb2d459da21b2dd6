import { describeServer, type ServersUnderTest } from '../netfs/server-contract.ts';
import { makeObjectFolder, TestVolume, testPipeline, writeFile } from './support.ts';

/** Two clients of one volume. Files are embedded, or objects of their own. */
async function servers(asObjects: boolean): Promise<ServersUnderTest> {
  const test = await TestVolume.create();
  const [mine, theirs] = [await test.client(), await test.client()];
  await makeObjectFolder(mine.volume, '/folder');
  let count = 0;
  return {
    pipeline: await testPipeline(),
    server: mine.volume.server,
    other: theirs.volume.server,
    newFile: async () => {
      count += 1;
      const path = `/folder/${count}`;
      await writeFile(mine.volume, path, new Uint8Array());
      const { directory, name } = await mine.volume.place(path);
      if (asObjects) {
        await mine.volume.names.link({ directory, name }, directory, `second name of ${count}`);
      }
      const keys: Uint8Array[] = [];
      for (const { volume } of [mine, theirs]) {
        const { inode } = await volume.find(path);
        keys.push(volume.server.register({ ...(await volume.place(path)), id: inode.id }));
      }
      return keys[0] ?? new Uint8Array();
    },
    close: () => test.close(),
  };
}

describeServer('the sealed layout, files that are embedded', () => servers(false));
describeServer('the sealed layout, files that are objects', () => servers(true));
