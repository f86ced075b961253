/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: './test/environment.js',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // Types are checked by `npm run types`; here each file is only translated.
  transform: {
    '^.+\\.ts$': [
      'ts-jest',
      { tsconfig: { isolatedModules: true, module: 'commonjs', moduleResolution: 'bundler' }, diagnostics: false },
    ],
  },
  // Ends what hangs; a loaded machine takes its time over starting processes and loading graphs.
  testTimeout: 60_000,
  // Two suites at a time: each end-to-end suite starts a server with processes of its own.
  maxWorkers: 2,
};
