import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { readSettings, SETTINGS } from '../src/config';

test('nothing set: the defaults, and the cores shared among the processes', () => {
  expect(readSettings({})).toMatchObject({ host: '0.0.0.0', port: 3000, intraOpThreads: availableParallelism() });
  expect(readSettings({ INFERENCE_PROCESSES: '64' }).intraOpThreads).toBe(
    Math.max(1, Math.floor(availableParallelism() / 64)),
  );
});

test('an empty variable means the default, and blanks around a value do no harm', () => {
  expect(readSettings({ PORT: '', LOG_LEVEL: ' warn ' })).toMatchObject({ port: 3000, logLevel: 'warn' });
});

test('a relative bundle is taken from the project, an absolute one as it is', () => {
  expect(readSettings({ MODEL_DIR: 'models/a' }).modelDir).toBe(path.join(__dirname, '../models/a'));
  expect(readSettings({ MODEL_DIR: '/b' }).modelDir).toBe(path.resolve('/b'));
});

test.each([
  [{ PORT: '0' }, { port: 0 }],
  [{ PORT: '65535' }, { port: 65_535 }],
  [{ VALIDATE_RESPONSES: 'true' }, { validateResponses: true }],
  [{ VALIDATE_RESPONSES: 'false' }, { validateResponses: false }],
])('%o is allowed', (environment, settings) => {
  expect(readSettings(environment)).toMatchObject(settings);
});

test.each([
  [{ PORT: '65536' }, 'PORT is "65536", and must be a whole number from 0 to 65535.'],
  [{ PORT: '-1' }, 'PORT is "-1"'],
  [{ PORT: '1e3' }, 'PORT is "1e3"'],
  [{ INFERENCE_PROCESSES: '0' }, 'from 1 to 64'],
  [{ VALIDATE_RESPONSES: 'constructor' }, 'must be true or false'],
  [{ LOG_LEVEL: 'loud' }, 'must be one of debug, info, warn, error, silent'],
])('%o is refused', (environment, sentence) => {
  expect(() => readSettings(environment)).toThrow(sentence);
});

test('settings cannot be changed once they are read', () => {
  expect(Object.isFrozen(readSettings({}))).toBe(true);
});

test('the README lists every setting with its default', () => {
  const readme = readFileSync(path.join(__dirname, '../README.md'), 'utf8');
  const listed = [...readme.matchAll(/^\| `([A-Z_]+)` \| `([^`]*)` \|/gm)].map(([, variable, fallback]) => [
    variable,
    fallback,
  ]);
  expect(listed.toSorted()).toEqual(
    Object.values(SETTINGS)
      .map(({ variable, fallback }) => [variable, String(fallback)])
      .toSorted(),
  );
});
