import { describe, expect, it } from 'vitest';
import { codeOf } from '../../../src/base/errors.ts';
import { type Layer, Layers } from '../../../src/netfs/regions/layers.ts';
import type { Receipt } from '../../../src/netfs/server.ts';

const UNIT = 16;

/** A receipt whose tag is all `number`. */
function receipt(number: number): Receipt {
  return { tag: new Uint8Array(16).fill(number), lengthBytes: 100 + number };
}

/** Layers over a committed file of four units, with receipts 1 to 4. */
function layersOfFour(): Layers {
  const layers = new Layers(UNIT, { version: 'v1', sizeBytes: 4 * UNIT }, 8);
  layers.learn('v1', 0, [1, 2, 3, 4].map(receipt));
  return layers;
}

function write(layer: Layer, unit: number, number: number): void {
  layer.wrote((unit + 1) * UNIT);
  layer.place(unit, receipt(number));
}

describe('layers', () => {
  it('are looked through from the newest to the committed version', () => {
    const layers = layersOfFour();
    const first = layers.begin();
    const second = layers.begin();
    write(first, 1, 11);
    write(first, 2, 12);
    write(second, 2, 22);
    second.place(3, undefined);
    expect([0, 1, 2, 3, 4].map(unit => layers.find(unit))).toEqual([
      receipt(1),
      receipt(11),
      receipt(22),
      'hole',
      'hole',
    ]);
    expect(layers.isCurrent(2, receipt(22).tag)).toBe(true);
    expect(layers.isCurrent(2, receipt(12).tag)).toBe(false);
    expect(layers.isCurrent(3, receipt(4).tag)).toBe(false);
  });

  it('S7: what a truncate has removed never comes back, however the file grows', () => {
    const layers = layersOfFour();
    const first = layers.begin();
    write(first, 3, 13);
    const second = layers.begin();
    write(second, 2, 22);
    second.truncated(UNIT + 5, UNIT);
    second.truncated(10 * UNIT, UNIT);
    expect(layers.sizeBytes).toBe(10 * UNIT);
    expect([0, 1, 2, 3, 4].map(unit => layers.find(unit))).toEqual([
      receipt(1),
      receipt(2),
      'hole',
      'hole',
      'hole',
    ]);
    // Not after the first commit either.
    expect(layers.toCommit(first)).toMatchObject({
      sizeBytes: 4 * UNIT,
      cutBytes: 4 * UNIT,
      ifVersion: 'v1',
    });
    layers.committedLayer(first, { version: 'v2', sizeBytes: 4 * UNIT });
    expect(layers.find(3)).toBe('hole');
    expect(layers.toCommit(second)).toMatchObject({
      sizeBytes: 10 * UNIT,
      cutBytes: UNIT + 5,
      ifVersion: 'v2',
    });
    layers.committedLayer(second, { version: 'v3', sizeBytes: 10 * UNIT });
    expect(layers.find(0)).toEqual(receipt(1));
    // The server knows that it is a hole; nothing older is believed.
    expect(layers.find(3)).toBe('unknown');
  });

  it('a layer that is folded upwards keeps what the upper one does not replace or cut', () => {
    const layers = layersOfFour();
    const first = layers.begin();
    const second = layers.begin();
    write(first, 0, 10);
    write(first, 1, 11);
    write(first, 6, 16);
    write(second, 1, 21);
    second.truncated(3 * UNIT, UNIT);
    layers.fold(first);
    const { receipts, sizeBytes, cutBytes } = layers.toCommit(second);
    expect([...receipts].sort(([a], [b]) => a - b)).toEqual([
      [0, receipt(10)],
      [1, receipt(21)],
    ]);
    expect([sizeBytes, cutBytes]).toEqual([3 * UNIT, 3 * UNIT]);
  });

  it('a commit says what it said, whatever becomes of the layer', () => {
    const layers = layersOfFour();
    const first = layers.begin();
    write(first, 0, 10);
    write(first, 1, 11);
    const { receipts } = layers.toCommit(first);
    first.remove(0, first.receipts.get(0)!);
    layers.begin();
    layers.fold(first);
    expect([...receipts.keys()]).toEqual([0, 1]);
    expect(layers.find(0)).toEqual(receipt(1));
  });

  it('a record that is lost uncovers the one before, unless a durable one has replaced that', () => {
    const layers = layersOfFour();
    const layer = layers.begin();
    const [a, b, c] = [receipt(10), receipt(11), receipt(12)];
    for (const each of [a, b, c]) layer.place(0, each);
    layer.remove(0, b);
    expect(layers.find(0)).toBe(c);
    layer.remove(0, c);
    expect(layers.find(0)).toBe(a);
    layer.place(0, b);
    layer.confirm(0, a);
    layer.place(0, c);
    layer.confirm(0, b);
    layer.remove(0, c);
    expect(layers.find(0)).toBe(b);
    layer.remove(0, b);
    expect(layers.find(0)).toEqual(receipt(1));
  });

  it('a record that is lost after a fold uncovers the one of the lower layer', () => {
    const layers = layersOfFour();
    const first = layers.begin();
    const second = layers.begin();
    const [a, b] = [receipt(10), receipt(11)];
    first.place(0, a);
    second.place(0, b);
    layers.fold(first);
    second.remove(0, b);
    expect(layers.find(0)).toBe(a);
    second.remove(0, a);
    expect(layers.find(0)).toEqual(receipt(1));
  });

  it('only the oldest layer can be committed', () => {
    const layers = layersOfFour();
    layers.begin();
    const second = layers.begin();
    expect(() => layers.toCommit(second)).toThrow('oldest');
  });

  it('answers about another version are not believed', () => {
    const layers = layersOfFour();
    layers.rebase({ version: 'v2', sizeBytes: 4 * UNIT }, [2]);
    expect(layers.find(1)).toEqual(receipt(2));
    layers.learn('v1', 2, [receipt(3)]);
    expect(layers.find(2)).toBe('unknown');
    layers.learn('v2', 2, [receipt(9)]);
    expect(layers.find(2)).toEqual(receipt(9));
    layers.forget(2);
    expect(layers.find(2)).toBe('unknown');
    layers.rebase({ version: 'v3', sizeBytes: 4 * UNIT });
    expect(layers.find(1)).toBe('unknown');
  });

  it('only so many committed receipts are remembered', () => {
    const layers = new Layers(UNIT, { version: 'v1', sizeBytes: 100 * UNIT }, 8);
    layers.learn(
      'v1',
      0,
      Array.from({ length: 20 }, (_, at) => receipt(at)),
    );
    expect(layers.knownCount).toBeLessThanOrEqual(8);
    expect(layers.knownCount).toBeGreaterThan(4);
    expect(layers.find(19)).toEqual(receipt(19));
    expect(layers.find(0)).toBe('unknown');
  });

  it('the size follows another version, unless a truncate has set it', () => {
    const layers = layersOfFour();
    const layer = layers.begin();
    write(layer, 4, 14);
    expect(layers.sizeBytes).toBe(5 * UNIT);
    layers.rebase({ version: 'v2', sizeBytes: 7 * UNIT }, [6]);
    expect(layers.sizeBytes).toBe(7 * UNIT);
    expect(layers.isSizeSet).toBe(false);
    layer.truncated(UNIT, UNIT);
    expect(layers.sizeBytes).toBe(UNIT);
    expect(layers.isSizeSet).toBe(true);
    expect([0, 1, 6].map(unit => layers.hasChanged(unit))).toEqual([false, true, true]);
  });

  it('what is not a layer of this file is refused', () => {
    const layers = layersOfFour();
    const other = layersOfFour().begin();
    layers.begin();
    for (const refused of [() => layers.fold(other), () => layers.discard(other)]) {
      let error: unknown;
      try {
        refused();
      } catch (thrown) {
        error = thrown;
      }
      expect(codeOf(error)).toBe('EBUG');
    }
  });
});
