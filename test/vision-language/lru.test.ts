import { Lru } from '../../src/vision-language/lru';

function kept(lru: Lru<string>, ...keys: string[]): (string | undefined)[] {
  return keys.map((key) => lru.get(key));
}

test('what was asked for longest ago makes room', () => {
  const lru = new Lru<string>(2);
  lru.set('a', 'A');
  lru.set('b', 'B');
  lru.get('a');
  lru.set('c', 'C');
  expect(kept(lru, 'a', 'b', 'c')).toEqual(['A', undefined, 'C']);
});

test('a heavy value makes as much room as it needs', () => {
  const lru = new Lru<string>(10);
  lru.set('a', 'A', 4);
  lru.set('b', 'B', 4);
  lru.set('c', 'C', 9);
  expect(kept(lru, 'a', 'b', 'c')).toEqual([undefined, undefined, 'C']);
});

test('a value that is heavier than the limit is not kept, and nothing leaves for it', () => {
  const lru = new Lru<string>(10);
  lru.set('a', 'A', 4);
  lru.set('b', 'B', 11);
  expect(kept(lru, 'a', 'b')).toEqual(['A', undefined]);
});

test('a value that replaces another weighs in its place', () => {
  const lru = new Lru<string>(10);
  lru.set('a', 'A', 9);
  lru.set('a', 'a', 1);
  lru.set('b', 'B', 9);
  expect(kept(lru, 'a', 'b')).toEqual(['a', 'B']);
  lru.delete('b');
  lru.set('c', 'C', 9);
  expect(kept(lru, 'a', 'b', 'c')).toEqual(['a', undefined, 'C']);
});
