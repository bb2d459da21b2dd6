/**
 * Notes and warnings: what a user should know although nothing has failed. Each is a line on standard error.
 * With `--json` the line is a JSON object, `{ "note": { message, code? } }`, and the result has it as well.
 */
import { toJson } from './json-text.ts';
import { printable } from './printable.ts';

export interface Note {
  readonly message: string;
  /** The code of the error that it tells of, if there was one. */
  readonly code?: string;
}

let isJson = false;
const noted: Note[] = [];

/** Begins a command: sets whether it asks for JSON. It has no notes yet. */
export function beginNotes(asJson: boolean): void {
  isJson = asJson;
  noted.length = 0;
}

/** The notes of this command so far. */
export function notesSoFar(): readonly Note[] {
  return noted;
}

/** Writes a note. */
export function note(message: string): void {
  write({ message }, `note: ${message}`);
}

/** Writes a warning: people see it as they see an error. */
export function warn(message: string, code?: string): void {
  if (code === undefined) write({ message }, message);
  else write({ message, code }, `${message} (${code})`);
}

/**
 * Writes a result and a warning. In text, the warning comes last. With JSON it comes first, because the
 * document contains it.
 *
 * @param result returns the text or the JSON document.
 */
export function resultWithWarning(
  asJson: boolean,
  report: (text: string) => void,
  result: () => string,
  warning: string,
): void {
  if (asJson) warn(warning);
  report(result());
  if (!asJson) warn(warning);
}

/** @param line the text for people. */
function write(item: Note, line: string): void {
  noted.push(item);
  process.stderr.write(isJson ? `${toJson({ note: item })}\n` : `netseal: ${printable(line)}\n`);
}
