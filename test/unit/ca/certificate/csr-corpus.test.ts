import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { CSR_OF_MEMBER, type CsrRules, csrOfForeignClient, parseCsr } from '../../../../ca/certificate/csr.js'
import { memberNames } from '../../../../ca/certificate/profile.js'
import { MeshError } from '../../../../mesh/errors.js'
import { makeVectors, OWNER, type Vector } from '../../../support/csr-corpus.js'

const FILE = path.join(import.meta.dirname, '../../../vectors/csrs.json')
if (process.env['UPDATE_VECTORS'] !== undefined)
  writeFileSync(FILE, `${JSON.stringify(makeVectors(), null, 2)}\n`)
const VECTORS = JSON.parse(readFileSync(FILE, 'utf8')) as Vector[]

const RULES: Readonly<Record<Vector['as'], CsrRules>> = {
  member: CSR_OF_MEMBER,
  foreign: csrOfForeignClient(memberNames(OWNER), []),
  'foreign, Ed25519 opted in': csrOfForeignClient(memberNames(OWNER), ['Ed25519']),
}

function outcome({ pem, as }: Vector): string {
  try {
    parseCsr(pem, RULES[as])
    return 'accepted'
  } catch (error) {
    if (error instanceof MeshError) return error.code
    throw error
  }
}

describe('the corpus of certificate requests', () => {
  it.each(VECTORS.map((vector) => [vector.name, vector.expected, vector] as const))(
    'has one with %s: %s',
    (_name, expected, vector) => {
      expect(outcome(vector)).toBe(expected)
    },
  )

  it('is what its generator makes today', () => {
    const outline = (vectors: Vector[]): unknown =>
      vectors.map(({ name, as, expected }) => [name, as, expected])
    expect(outline(makeVectors())).toEqual(outline(VECTORS))
  })

  it('names in its refusals what is asked for', () => {
    const messageOf = (name: string): string => {
      const vector = VECTORS.find((each) => each.name === name)
      try {
        parseCsr(vector?.pem ?? '', RULES[vector?.as ?? 'member'])
        return ''
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(messageOf('a challenge password')).toContain('challengePassword')
    expect(messageOf('CA:TRUE')).toContain('basicConstraints')
    expect(messageOf('two URI names')).toContain('subjectAltName')
    expect(messageOf('an attribute that nobody knows')).toContain('1.3.6.1.4.1.99999.7')
  })
})
