import { existsSync } from 'node:fs';
import path from 'node:path';

/** @param program below test/servers/.venv, where `npm run test:servers` installs it */
export function installed(program: string): string {
  return path.join(__dirname, '.venv', program);
}

/**
 * `describe` for tests that need a program of test/servers. Where it is not installed they are skipped and say so, unless
 * every test must run, as for a change that lands: then they fail on the missing program.
 */
export function describeWith(program: string): jest.Describe {
  if (existsSync(installed(program)) || process.env['REQUIRE_ALL_TESTS'] === '1') {
    return describe;
  }
  // Not by the console: of files that are skipped as a whole jest shows nothing.
  process.stderr.write(`Skipped: ${installed(program)} is not there; \`npm run test:servers\` installs it.\n`);
  return describe.skip;
}
