/** The types of vector files, and how they are read and written. The generator and the tests share it. */
import { readdirSync, readFileSync } from 'node:fs';
import { shake128 } from '@noble/hashes/sha3.js';
import { utf8 } from '../src/base/bytes.ts';
import type { ErrorCode } from '../src/base/errors.ts';
import type { Padding } from '../src/unit/padding.ts';
import type { CodecName, RecordKind, SuiteName } from '../src/unit/record-format.ts';

/** Fields of every file: its subject, and the source of its values. */
export interface VectorCase {
  readonly comment: string;
  readonly source: string;
}

/** One known answer of a cipher, from its standard. All bytes in hexadecimal. */
export interface CipherCase extends VectorCase {
  readonly algorithm: 'hchacha20' | 'chacha20-poly1305' | 'aes-256-gcm' | SuiteName;
  readonly key: string;
  readonly nonce: string;
  readonly associated: string;
  readonly plaintext: string;
  /** Ciphertext ‖ tag; for `hchacha20` the subkey. */
  readonly sealed: string;
  /** Intermediate values, for people who implement the cipher. */
  readonly subkey?: string;
}

/** The accumulated random test of XAES-256-GCM. */
export interface AccumulatedCase extends VectorCase {
  readonly algorithm: 'xaes-256-gcm accumulated';
  /** Number of iterations to the 32 bytes that SHAKE-128 gives for all ciphertexts, in hexadecimal. */
  readonly results: Readonly<Record<string, string>>;
}

/** The input of a record's reader: its keys, and the place that it expects the record at. Ids and keys in hex. */
export interface ReaderFields {
  /** The reader holds this key, for this epoch only. */
  readonly epoch: number;
  readonly epochKey: string;
  readonly volumeId: string;
  readonly objectId: string;
  readonly kind: RecordKind;
  readonly index: number;
  readonly unitSizeLog2: number;
  /** The longest plain content that this place may have. */
  readonly openBytesMax: number;
}

/** A record that opens. */
export interface GoldenCase extends VectorCase, ReaderFields {
  readonly expect: 'success';
  readonly suite: SuiteName;
  readonly flags: number;
  readonly nonce: string;
  /** The derived record key and commitment, in hex: intermediate values. */
  readonly recordKey: string;
  readonly commitment: string;
  readonly codec: CodecName;
  readonly level: number;
  readonly padding: Padding;
  readonly plain: PlainRecipe;
  readonly plainBytes: number;
  /** The compressed payload in base64; absent when stored. */
  readonly payload?: string;
  readonly sealedBytes: number;
  readonly sealedSha256: string;
  /** The whole record in base64, when it is short. */
  readonly sealed?: string;
}

/** A record that must not open. */
export interface FailureCase extends VectorCase, ReaderFields {
  readonly expect: ErrorCode;
  /** In base64. */
  readonly sealed: string;
  /** 16 bytes in hex, when the reader expects a certain version of the unit. */
  readonly expectedTag?: string;
}

export type RecordCase = GoldenCase | FailureCase;

/** Kinds of plain content: zeros, one line of text repeated, or the output of SHAKE-128 of "netseal". */
export type PlainRecipe = 'zeros' | 'text' | 'random';

const LINE = 'the quick brown fox seals a unit; ';

/** Returns `lengthBytes` of plain content that the caller owns. */
export function makePlain(recipe: PlainRecipe, lengthBytes: number): Uint8Array<ArrayBuffer> {
  if (recipe === 'zeros') return new Uint8Array(lengthBytes);
  if (recipe === 'random') return new Uint8Array(shake128(utf8('netseal'), { dkLen: lengthBytes }));
  return utf8(LINE.repeat(Math.ceil(lengthBytes / LINE.length))).slice(0, lengthBytes);
}

/** The folder that holds the vector files. */
export const VECTORS_URL: URL = new URL('./', import.meta.url);

/** Returns the cases of a folder of `vectors/` by file name without `.json`, in the order of names. */
export function readCases<Case extends VectorCase>(folder: string): Map<string, Case> {
  const url = new URL(`${folder}/`, VECTORS_URL);
  const names = readdirSync(url).filter(name => name.endsWith('.json'));
  return new Map(
    names
      .sort()
      .map(name => [name.slice(0, -'.json'.length), JSON.parse(readFileSync(new URL(name, url), 'utf8'))]),
  );
}

/** Returns the text of a vector file. */
export function formatCase(vectorCase: VectorCase): string {
  return `${JSON.stringify(vectorCase, null, 2)}\n`;
}
