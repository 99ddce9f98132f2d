import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { isMeshError, MeshError } from '../../../../mesh/errors.js'
import { readValue } from '../../../../mesh/parse.js'
import { parsePolicy } from '../../../../mesh/policy/document.js'
import { POLICY_MAX, READ_POLICY } from '../../../../mesh/policy/model.js'

const VECTORS = path.resolve('test/vectors/policies')

interface Refused {
  readonly name: string
  readonly yaml: string
  readonly at: readonly string[]
  /** What docs/policy.schema.json says of it; `unreadable`: it is not YAML to begin with. */
  readonly schema: 'refuses' | 'accepts' | 'unreadable'
}

const valid = readdirSync(path.join(VECTORS, 'valid')).map((file) => ({
  file,
  yaml: readFileSync(path.join(VECTORS, 'valid', file), 'utf8'),
}))
const refused = JSON.parse(readFileSync(path.join(VECTORS, 'refused.json'), 'utf8')) as Refused[]
const schemaSays = new Ajv2020({ strict: true, allErrors: true }).compile(
  JSON.parse(readFileSync('docs/policy.schema.json', 'utf8')) as object,
)

function refusalOf(yaml: string): MeshError {
  try {
    parsePolicy(yaml)
  } catch (error) {
    if (error instanceof MeshError) return error
    throw error
  }
  throw new Error('it was accepted')
}

const placesIn = (message: string): (string | undefined)[] =>
  message.split('\n').map((line) => /^policy\.yaml:(\d+:\d+): /.exec(line)?.[1])

describe('a policy document', () => {
  it.each(valid)('$file is read, and the schema agrees', ({ yaml }) => {
    const policy = parsePolicy(yaml)
    expect(policy.version).toBe(0)
    expect(readValue(policy, READ_POLICY, 'policy')).toEqual(policy)
    expect(schemaSays(parse(yaml))).toBe(true)
  })

  it.each(refused)('with $name is refused and the place is named', ({ yaml, at }) => {
    const error = refusalOf(yaml)
    expect(error.code).toBe('POLICY_MALFORMED')
    expect(placesIn(error.message)).toEqual(at)
  })

  it.each(refused.filter(({ schema }) => schema !== 'unreadable'))(
    'with $name: the schema $schema it',
    ({ yaml, schema }) => {
      const value = parse(yaml, { logLevel: 'silent' }) as unknown
      expect(schemaSays(value) ? 'accepts' : 'refuses').toBe(schema)
    },
  )

  it('keeps the lines of agents, grants, services and operations', () => {
    const { agents, services } = parsePolicy(
      [
        'version: 1',
        'agents:',
        '  - id: agent/planner',
        '    scopes:',
        '      - tickets:read',
        '      - search:query',
        'services:',
        '  - id: agent/tickets',
        '    operations:',
        '      - match: { method: GET, path: /a }',
        '        scope: tickets:read',
        '',
      ].join('\n'),
    )
    expect(agents).toEqual([
      {
        id: 'agent/planner',
        line: 3,
        grants: [
          { scope: 'tickets:read', line: 5 },
          { scope: 'search:query', line: 6 },
        ],
      },
    ])
    expect(services).toEqual([
      {
        id: 'agent/tickets',
        line: 8,
        operations: [{ method: 'GET', path: '/a', scope: 'tickets:read', line: 10 }],
      },
    ])
  })

  it('counts lines the same with CRLF ends and a byte order mark', () => {
    const yaml = `\ufeff${valid.find(({ file }) => file === 'office.yaml')?.yaml ?? ''}`.replace(
      /\n/g,
      '\r\n',
    )
    expect(parsePolicy(yaml).services[0]?.operations[0]?.line).toBe(21)
  })

  it('names the key that was most likely meant', () => {
    expect(refusalOf('version: 1\nagent: []\nservices: []\n').message).toContain('did you mean agents?')
  })

  it('lists twenty findings and counts the rest', () => {
    const agents = Array.from(
      { length: 30 },
      (_, index) => `  - {id: agent/a${index}, scopes: [bad]}\n`,
    ).join('')
    const lines = refusalOf(`version: 1\nagents:\n${agents}services: []\n`).message.split('\n')
    expect(lines).toHaveLength(21)
    expect(lines.at(-1)).toBe('and 10 more')
  })

  it('never carries a control character of the document into its message', () => {
    const { message } = refusalOf('version: 1\n"\\e[31magents": []\nservices: []\n')
    expect(message.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  })

  it.each([
    ['larger than a mebibyte', `version: 1\n#${'x'.repeat(POLICY_MAX.bytes)}\n`],
    ['of a hundred thousand nested lists', `version: 1\nagents: ${'['.repeat(100_000)}\n`],
    ['of a hundred thousand nested dashes', `${'- '.repeat(100_000)}x\n`],
    ['of a hundred thousand keys', Array.from({ length: 100_000 }, (_, index) => `k${index}: 1\n`).join('')],
    [
      'of too many scopes',
      `version: 1\nagents: [{id: agent/a, scopes: [${'a:b,'.repeat(300)}]}]\nservices: []\n`,
    ],
  ])('%s is refused in good time', { timeout: 5000 }, (_what, yaml) => {
    expect(isMeshError(refusalOf(yaml), 'POLICY_MALFORMED')).toBe(true)
  })
})
