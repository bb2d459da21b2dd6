/** What is loaded when a store is opened. */
export { DirectoryStore } from '../../server/directory-store.ts';
export { wrapStore } from '../../server/wrap.ts';
export { unlockHeaderObject } from '../../volume/header-object.ts';
export { openStateFolder } from '../../volume/state/state-folder.ts';
