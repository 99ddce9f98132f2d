import tseslint from 'typescript-eslint'
import { rooms } from './eslint.rooms.js'

const noUnverifiedTls = {
  selector: "Property[key.name='rejectUnauthorized'], Property[key.value='rejectUnauthorized']",
  message:
    'TLS verification is never touched outside sidecar/ingress/listener.ts and sidecar/egress/dial.ts (docs/architecture.md, 4.1)',
}
const noAmbientTime = {
  selector:
    "CallExpression[callee.object.name='Date'][callee.property.name='now'], NewExpression[callee.name='Date'][arguments.length=0]",
  message: 'time is handed in: take a Clock (host/clock.ts)',
}
const noMathRandom = {
  selector: "CallExpression[callee.object.name='Math'][callee.property.name='random']",
  message: 'use node:crypto; Math.random is predictable',
}

/** What it makes aborts the process when it is collected on Node 24 (host/sqlite.ts). */
const noSqliteIterator = {
  selector: "CallExpression[callee.property.name='iterate']",
  message: 'run the statement again and again: the iterator of better-sqlite3 must not be collected',
}

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'certs-dev/out/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { rooms },
    rules: {
      'rooms/imports': 'error',
      'no-restricted-syntax': ['error', noUnverifiedTls, noAmbientTime, noMathRandom, noSqliteIterator],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `using _hosts = ...` holds a resource for its scope
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_' }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
    },
  },
  {
    files: ['sidecar/ingress/listener.ts', 'sidecar/egress/dial.ts'],
    rules: { 'no-restricted-syntax': ['error', noAmbientTime, noMathRandom, noSqliteIterator] },
  },
  {
    files: ['host/clock.ts', 'test/**', 'bench/**', 'examples/**', 'certs-dev/**'],
    rules: { 'no-restricted-syntax': ['error', noUnverifiedTls, noMathRandom, noSqliteIterator] },
  },
  {
    files: ['test/**', 'bench/**', '*.config.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
  { files: ['**/*.js'], extends: [tseslint.configs.disableTypeChecked] },
)
