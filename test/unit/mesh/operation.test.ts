import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../mesh/errors.js'
import { formatOperation, parseMethod, parseTarget, TARGET_MAX_BYTES } from '../../../mesh/operation.js'

const vectors = JSON.parse(readFileSync('test/vectors/targets.json', 'utf8')) as {
  canonical: [string, string, string][]
  refused: string[]
  methods: { taken: string[]; refused: string[] }
}
const code = (expected: string): MeshError => expect.objectContaining({ code: expected }) as MeshError

describe('a request target', () => {
  it.each(vectors.canonical)('%j has the path %j and the query %j', (raw, path, query) => {
    expect(parseTarget(raw)).toEqual({ path, query })
    expect(parseTarget(path + query)).toEqual({ path, query })
  })

  it.each(vectors.refused)('%j is refused', (raw) => {
    expect(() => parseTarget(raw)).toThrow(code('CALL_PATH_REFUSED'))
  })

  it('of exactly the limit is taken, of one byte more refused', () => {
    expect(parseTarget(`/${'a'.repeat(TARGET_MAX_BYTES - 1)}`).path).toHaveLength(TARGET_MAX_BYTES)
    expect(() => parseTarget(`/${'a'.repeat(TARGET_MAX_BYTES)}`)).toThrow(code('CALL_PATH_REFUSED'))
  })

  it('that grows beyond the limit by becoming canonical is refused', () => {
    expect(() => parseTarget(`/${'['.repeat(TARGET_MAX_BYTES - 1)}`)).toThrow(code('CALL_PATH_REFUSED'))
  })
})

describe('a method', () => {
  it.each(vectors.methods.taken)('%s is taken as it stands', (raw) => {
    expect(parseMethod(raw)).toBe(raw)
  })
  it.each(vectors.methods.refused)('%j is refused', (raw) => {
    expect(() => parseMethod(raw)).toThrow(code('CALL_MALFORMED'))
  })
})

it('an operation is written as method and path', () => {
  expect(formatOperation({ protocol: 'http', method: 'GET', path: '/tickets/42' })).toBe('GET /tickets/42')
})
