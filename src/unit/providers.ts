/**
 * Chooses the libraries that do the work: by what the machine has, or as the caller says. Portable libraries
 * are loaded only when they are used, because together they cost every thread some 15 MiB.
 */
import { NetsealError } from '../base/errors.ts';
import type { CodecProvider, CodecProviderName } from './codec.ts';
import { nativeDeflate } from './deflate.ts';
import type { CodecName, SuiteName } from './record-format.ts';
import type { CipherProvider, CipherProviderName } from './suite.ts';
import { xaesNode } from './xaes-256-gcm.ts';
import { xchachaNode } from './xchacha20-poly1305.ts';
import { nativeZstd } from './zstd.ts';

export type ProviderChoice = 'auto' | 'native' | 'portable';

/** `native` is `node:zlib` and `node:crypto`; `portable` is `zstd-codec`, `fflate` and `@noble/ciphers`. */
export interface ProviderSettings {
  /** Default `auto`: native where this Node has it, else portable. Chosen for each codec by itself. */
  readonly codecs?: ProviderChoice;
  /** Default `auto`: native where this Node has it, else portable. Chosen for each suite by itself. */
  readonly ciphers?: ProviderChoice;
}

/** The providers that a thread works with. */
export interface Providers {
  codec(name: Exclude<CodecName, 'stored'>): CodecProvider;
  suite(name: SuiteName): CipherProvider;
  readonly report: ProviderReport;
}

/** The library chosen for each codec and suite. */
export interface ProviderReport {
  readonly codecs: Readonly<Record<Exclude<CodecName, 'stored'>, CodecProviderName>>;
  readonly ciphers: Readonly<Record<SuiteName, CipherProviderName>>;
}

const NODE_SUITES: Record<SuiteName, CipherProvider> = {
  'xaes-256-gcm': xaesNode,
  'xchacha20-poly1305': xchachaNode,
};

async function nobleSuite(name: SuiteName): Promise<CipherProvider> {
  const { xaesNoble, xchachaNoble } = await import('./ciphers-noble.ts');
  return name === 'xaes-256-gcm' ? xaesNoble : xchachaNoble;
}

/** Tries a cipher. Nodes built with a restricted OpenSSL (FIPS) lack ChaCha20, and some lack GCM. */
function worksHere(provider: CipherProvider): boolean {
  try {
    const cipher = provider.bind(new Uint8Array(32));
    cipher.seal(new Uint8Array(24), new Uint8Array(0), new Uint8Array(1), new Uint8Array(17));
    cipher.destroy();
    return true;
  } catch {
    return false;
  }
}

async function chooseSuite(name: SuiteName, choice: ProviderChoice): Promise<CipherProvider> {
  if (choice === 'portable') return nobleSuite(name);
  const node = NODE_SUITES[name];
  if (worksHere(node)) return node;
  if (choice === 'native') {
    throw new NetsealError('EUNSUPPORTED', `this Node's OpenSSL has no ${name}; use the portable provider`);
  }
  return nobleSuite(name);
}

async function chooseDeflate(choice: ProviderChoice): Promise<CodecProvider> {
  if (choice !== 'portable') return nativeDeflate;
  return (await import('./deflate-portable.ts')).portableDeflate;
}

async function chooseZstd(choice: ProviderChoice): Promise<CodecProvider> {
  const native = choice === 'portable' ? undefined : nativeZstd();
  if (native !== undefined) return native;
  if (choice === 'native') {
    throw new NetsealError(
      'EUNSUPPORTED',
      `Node ${process.version} has no native zstd; use the portable provider`,
    );
  }
  return (await import('./zstd-portable.ts')).portableZstd();
}

/**
 * Chooses and loads providers for this thread. Rejects with EUNSUPPORTED when `native` is asked for and
 * missing, with EINVAL when a choice is not one of the three words.
 */
export async function chooseProviders(settings: ProviderSettings = {}): Promise<Providers> {
  const codecChoice = checkChoice(settings.codecs ?? 'auto');
  const cipherChoice = checkChoice(settings.ciphers ?? 'auto');
  const codecs = {
    zstd: await chooseZstd(codecChoice),
    deflate: await chooseDeflate(codecChoice),
  };
  const suites = {
    'xaes-256-gcm': await chooseSuite('xaes-256-gcm', cipherChoice),
    'xchacha20-poly1305': await chooseSuite('xchacha20-poly1305', cipherChoice),
  };
  return {
    codec: name => codecs[name],
    suite: name => suites[name],
    report: {
      codecs: { zstd: codecs.zstd.provider, deflate: codecs.deflate.provider },
      ciphers: {
        'xaes-256-gcm': suites['xaes-256-gcm'].provider,
        'xchacha20-poly1305': suites['xchacha20-poly1305'].provider,
      },
    },
  };
}

function checkChoice(choice: string): ProviderChoice {
  if (choice === 'auto' || choice === 'native' || choice === 'portable') return choice;
  throw new NetsealError('EINVAL', `provider must be auto, native or portable, not "${choice}"`);
}
