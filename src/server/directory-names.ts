/** The names of files and folders below `objects` in a directory store: see {@link KeyNames}. */
import { KeyNames } from './key-names.ts';

/** No two names differ only by case or by Unicode normalisation: many disks do not tell such names apart. */
export const DIRECTORY_NAMES: KeyNames = new KeyNames('a-z0-9_@=,.-');
