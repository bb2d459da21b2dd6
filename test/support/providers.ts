/** The provider combinations that a test goes through. */
import { chooseProviders, type ProviderChoice, type Providers } from '../../src/unit/providers.ts';

export interface NamedProviders {
  readonly name: string;
  readonly providers: Providers;
}

const CHOICES: readonly ProviderChoice[] = ['native', 'portable'];

/** All four: codecs native and portable times ciphers native and portable. Made once. */
export const EVERY_PROVIDERS: readonly NamedProviders[] = await Promise.all(
  CHOICES.flatMap(codecs =>
    CHOICES.map(async ciphers => ({
      name: `${codecs} codecs, ${ciphers} ciphers`,
      providers: await chooseProviders({ codecs, ciphers }),
    })),
  ),
);

const [NATIVE_FIRST, , , PORTABLE_LAST] = EVERY_PROVIDERS;
/** Native codecs and ciphers. */
export const NATIVE: Providers = (NATIVE_FIRST as NamedProviders).providers;
/** Portable codecs and ciphers. */
export const PORTABLE: Providers = (PORTABLE_LAST as NamedProviders).providers;
