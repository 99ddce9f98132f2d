// Pages that would rot in silence: settings, links, and the promises a reader can count.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { SETTINGS } from '../../../host/config.js'
import { ERRORS } from '../../../mesh/errors.js'
import { ROOT } from './desk.js'

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'examples/README.md',
  ...readdirSync(path.join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
const read = (page: string): string => readFileSync(path.join(ROOT, page), 'utf8')

test('every setting stands in the operations page with its default', () => {
  const rows = read('docs/operations.md')
  const missing = SETTINGS.filter(
    ({ key, default: absent }) =>
      !rows.includes(`| \`${key}\` | ${absent === null ? '' : `\`${absent}\` `}|`),
  ).map(({ key }) => key)
  expect(missing).toEqual([])
})

test.each(pages)('every relative link of %s leads somewhere', (page) => {
  const broken = [...read(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => target !== '' && !existsSync(path.join(ROOT, path.dirname(page), target)))
  expect(broken).toEqual([])
})

test.each(pages)('every error code that %s names is in the table', (page) => {
  const families =
    /`((?:CA|CALL|CALLEE|PEER|POLICY|JOIN|CSR|FEED|AUDIT|AGENT|SELF|STATE|LOCAL|WIRE)_[A-Z_]+)`/g
  const unknown = [...read(page).matchAll(families)]
    .map(([, code = '']) => code)
    .filter((code) => !code.endsWith('_') && !Object.hasOwn(ERRORS, code))
  expect(unknown).toEqual([])
})

test('every proof that the threat model names is there', () => {
  const proofs = [
    ...read('docs/threat-model.md').matchAll(/`((?:unit|flow|hostile|property|vectors|e2e|cli)\/[^`]+)`/g),
  ].map(([, proof = '']) => proof)
  expect(proofs.length).toBeGreaterThan(20)
  expect(proofs.filter((proof) => !existsSync(path.join(ROOT, 'test', proof)))).toEqual([])
})

test('the planner in Python has at most 60 lines', () => {
  expect(read('examples/planner.py').trimEnd().split('\n').length).toBeLessThanOrEqual(60)
})
