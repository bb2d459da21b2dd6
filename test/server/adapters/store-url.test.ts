/** URLs of stores that are elsewhere. */
import { describe, expect, it } from 'vitest';
import { canonicalStoreUrl, isStoreUrl, parseStoreUrl } from '../../../src/server/adapters/store-url.ts';

describe('the URL of an S3 store', () => {
  it.each([
    ['s3://b', { bucket: 'b', prefix: '' }],
    ['s3://b/', { bucket: 'b', prefix: '' }],
    ['s3://my.bucket-1/a/b/', { bucket: 'my.bucket-1', prefix: 'a/b' }],
    ['s3://b/a%20b?region=eu-west-1', { prefix: 'a b', region: 'eu-west-1' }],
    ['s3://b?endpoint=http://127.0.0.1:7480/', { endpoint: 'http://127.0.0.1:7480' }],
    ['S3://b?endpoint=https%3A%2F%2Fs3.example.org', { endpoint: 'https://s3.example.org' }],
  ])('%s', (text, place) => {
    expect(isStoreUrl(text)).toBe(true);
    expect(parseStoreUrl(text)).toMatchObject({ type: 's3', ...place });
  });

  it.each([
    's3://',
    's3:///a',
    's3://b:1',
    's3://u@b',
    's3://b#x',
    's3://b/%',
    's3://b?bucket=c',
    's3://b?region=a&region=b',
    's3://b?endpoint=ftp://x',
    's3://b?endpoint=http://u:p@x',
  ])('%s is refused', text => {
    expect(() => parseStoreUrl(text)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('tells no password, whatever is wrong with it', () => {
    expect(() => parseStoreUrl('s3://key:hunter2@b')).toThrow(/holds no password/);
    for (const text of ['s3://key:hunter2@b', 's3://b?endpoint=http://key:hunter2@x']) {
      expect(() => parseStoreUrl(text)).toThrow(expect.not.stringContaining('hunter2'));
    }
  });

  it('has one spelling', () => {
    const url = 's3://b/a%20b?endpoint=http%3A%2F%2Fx%3A1';
    for (const text of ['s3://b/a b/?endpoint=http://x:1/', 'S3://b/a%20b?region=any&endpoint=http://x:1']) {
      expect(canonicalStoreUrl(text)).toBe(url);
    }
    expect(canonicalStoreUrl(url)).toBe(url);
    expect(canonicalStoreUrl('s3://b/?region=r')).toBe('s3://b?region=r');
  });
});

it.each(['backup', './s3', 'file:///x', 's3:/b', 's3:b', 'http://x', ''])(
  '%s is no URL of a store elsewhere',
  text => {
    expect(isStoreUrl(text)).toBe(false);
  },
);
