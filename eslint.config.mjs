import eslint from '@eslint/js';
import prettier from 'eslint-config-prettier';
import { createNodeResolver, importX } from 'eslint-plugin-import-x';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

// Dependencies point one way only: each folder of src/ with the folders that it may import from.
const MAY_IMPORT = {
  http: ['inference', 'vision-language'],
  batch: ['inference', 'vision-language'],
  doctor: ['inference', 'vision-language', 'onnx'],
  inference: ['vision-language', 'onnx'],
  'vision-language': ['image', 'text', 'onnx'],
  image: [],
  text: [],
  onnx: [],
};

// Each of these packages has one home.
const HOME_OF_PACKAGE = {
  express: 'http',
  multer: 'http',
  helmet: 'http',
  cors: 'http',
  'ipaddr.js': 'http',
  '@opentelemetry/api': 'http',
  'express-rate-limit': 'http',
  'swagger-ui-express': 'http',
  bullmq: 'batch',
  ioredis: 'batch',
  sharp: 'image',
  'onnxruntime-node': 'onnx',
};

const folders = Object.keys(MAY_IMPORT);

const oneWayImports = folders.map((folder) => ({
  target: `./src/${folder}`,
  from: './src',
  except: [
    `./${folder}`,
    ...MAY_IMPORT[folder].map((other) => `./${other}`),
    './errors.ts',
    './logger.ts',
    './config.ts',
    './cores.ts',
    './first-signal.ts',
  ],
  message: `src/${folder} may import from ${[...MAY_IMPORT[folder], 'errors, logger, config, cores, first-signal'].join(', ')} only.`,
}));

const packagesAwayFromHome = folders.map((folder) => ({
  files: [`src/${folder}/**`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        paths: Object.entries(HOME_OF_PACKAGE)
          .filter(([, home]) => home !== folder)
          .map(([name, home]) => ({ name, message: `Only src/${home} imports ${name}.` })),
      },
    ],
  },
}));

export default defineConfig(
  globalIgnores(['**/.venv/', 'dist/', 'coverage/', 'training/', 'models/', 'runs/']),
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.js'] })] },
    rules: {
      'import-x/no-restricted-paths': ['error', { basePath: import.meta.dirname, zones: oneWayImports }],
      'import-x/no-cycle': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  {
    files: ['src/**'],
    ignores: ['src/config.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Settings are read in src/config.ts and passed on.' },
      ],
    },
  },
  ...packagesAwayFromHome,
  {
    files: ['**/*.js'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { module: 'writable', require: 'readonly', process: 'readonly' },
    },
  },
  {
    files: ['.ci/*.mjs', 'bench/**/*.mjs'],
    languageOptions: {
      globals: {
        process: false,
        console: false,
        performance: false,
        fetch: false,
        setTimeout: false,
        AbortController: false,
        AbortSignal: false,
        Buffer: false,
        FormData: false,
        Blob: false,
      },
    },
  },
  prettier,
);
