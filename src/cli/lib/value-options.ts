/**
 * Options with a value that is read and checked as soon as it is typed. EINVAL, with the option's name, when
 * it cannot be.
 */
import { Option } from 'commander';
import { parseCount, parseDuration, parseSize } from './sizes.ts';

/** @param flags as commander writes them, the long name first: `--offset <size>`. */
export function sizeOption(flags: string, description: string): Option {
  return valueOption(flags, description, parseSize);
}

export function durationOption(flags: string, description: string): Option {
  return valueOption(flags, description, parseDuration);
}

/** A whole number from `min` to `max`. */
export function countOption(flags: string, description: string, min: number, max: number): Option {
  return valueOption(flags, description, (text, name) => parseCount(text, name, min, max));
}

/** @param parse reads the text; `name` is the option's, for messages. */
export function valueOption<Value>(
  flags: string,
  description: string,
  parse: (text: string, name: string) => Value,
): Option {
  const option = new Option(flags, description);
  const name = option.long ?? flags;
  return option.argParser(text => parse(text, name));
}
