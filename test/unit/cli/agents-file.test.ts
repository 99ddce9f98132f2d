import { describe, expect, it } from 'vitest'
import { type ForAll, parseAgents } from '../../../cli/agents-file.js'
import { isMeshError, type MeshErrorCode } from '../../../mesh/errors.js'

const FOR_ALL: ForAll = { egressAuth: 'credential' }
const read = (yaml: string, forAll: ForAll = FOR_ALL) => parseAgents(yaml, '/etc/troth/agents.yaml', forAll)

/** The code and the findings of a refusal, without the path of the file. */
function refusalOf(yaml: string): { code: MeshErrorCode; findings: string[] } {
  try {
    read(yaml)
  } catch (error) {
    if (!isMeshError(error)) throw error
    return {
      code: error.code,
      findings: error.message.split('\n').map((line) => line.replace('/etc/troth/agents.yaml:', '')),
    }
  }
  throw new Error('it was read')
}

const list = (...agents: string[]): string => ['agents:', ...agents.map((each) => `  - ${each}`)].join('\n')

describe('the file of agents', () => {
  it('gives each agent its settings, in the order of the file', () => {
    const agents = read(`
# two of one host
agents:
  - agent: planner
    to: { tickets: 4002, search: "4003,open" }
    egressPort: 4001
    advertise: 10.0.0.9:7500
    token: file:planner.token
  - { agent: tickets, instance: west, app: "127.0.0.1:3000", egressAuth: none, listen: 10.0.0.9, adminPort: 0 }
`)
    expect(agents).toEqual([
      {
        agent: 'planner',
        options: {
          egressAuth: 'credential',
          to: [
            { callee: 'tickets', port: 4002, open: false },
            { callee: 'search', port: 4003, open: true },
          ],
          egressPort: 4001,
          advertise: { host: '10.0.0.9', port: 7500 },
          token: 'file:/etc/troth/planner.token',
        },
      },
      {
        agent: 'tickets',
        options: {
          instance: 'west',
          app: { host: '127.0.0.1', port: 3000 },
          egressAuth: 'none',
          listen: '10.0.0.9',
          adminPort: 0,
        },
      },
    ])
  })

  it('takes relative paths from where it lies', () => {
    const [only] = read(list('{ agent: a, app: "unix:run/a.sock", token: "file:/run/a.token" }'))
    expect(only?.options).toMatchObject({
      app: { socketPath: '/etc/troth/run/a.sock' },
      token: 'file:/run/a.token',
    })
  })

  it('has what the flags of the process say where an agent says nothing', () => {
    const forAll: ForAll = { egressAuth: 'none', listen: '10.0.0.9', logLevel: 'warn' }
    const [first, second] = read(
      list('agent: a', '{ agent: b, listen: 10.0.0.8, egressAuth: credential }'),
      forAll,
    )
    expect(first?.options).toEqual(forAll)
    expect(second?.options).toEqual({ egressAuth: 'credential', listen: '10.0.0.8', logLevel: 'warn' })
  })

  it('may list instances of one agent', () => {
    expect(read(list('agent: a', '{ agent: a, instance: two }'))).toHaveLength(2)
  })

  it.each([
    [
      'an unknown key',
      list('{ agent: a, egresPort: 1 }'),
      '2:17: an agent has no key "egresPort"; did you mean egressPort?',
    ],
    [
      'a key of the process',
      `listen: x\n${list('agent: a')}`,
      '1:1: the file has no key "listen"; it has agents',
    ],
    ['a key twice', list('{ agent: a, agent: b }'), '2:17: map keys must be unique'],
    [
      'an agent twice',
      list('agent: a', 'agent: b', 'agent: a'),
      '4:5: agent a stands twice (first in line 2)',
    ],
    [
      'an instance twice',
      list('{ agent: a, instance: x }', '{ agent: a, instance: x }'),
      '3:5: instance x of agent a stands twice (first in line 2)',
    ],
    [
      'a port twice',
      list('{ agent: a, egressPort: 4001 }', '{ agent: b, to: { c: 4001 } }'),
      '3:23: port 4001 stands twice (first in line 2)',
    ],
    [
      'an ingress on a door of another',
      list('{ agent: a, adminPort: 4001 }', '{ agent: b, ingressPort: 4001, listen: 0.0.0.0 }'),
      '3:30: port 4001 stands twice (first in line 2)',
    ],
    ['no name', list('{ app: "3000" }'), '2:5: an agent needs agent, its name'],
    ['no agents', 'agents: []', '1:1: agents is empty; list at least one'],
    ['nothing', '', '1:1: the file must be a mapping with agents'],
    ['no list', 'agents: planner', '1:9: agents must be a list; write [] for none'],
    [
      'a token in it',
      list('{ agent: a, token: troth1_secret }'),
      '2:24: token must be file:PATH; it is no place for a secret',
    ],
    [
      'a token from stdin',
      list('{ agent: a, token: "-" }'),
      '2:24: token must be file:PATH; it is no place for a secret',
    ],
    ['a nested value', list('{ agent: a, app: { host: x } }'), '2:22: app must be text'],
    ['an alias', list('agent: &x a', 'agent: *x'), '2:12: anchors (&) are not used here'],
    [
      'no YAML',
      'agents: [',
      '1:10: flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
  ])('refuses %s', (_what, yaml, finding) => {
    const { code, findings } = refusalOf(yaml)
    expect(code).toBe('CONFIG_INVALID')
    expect(findings[0]).toBe(finding)
  })

  it.each([
    ['agent', 'Planner'],
    ['instance', 'A B'],
    ['app', 'nowhere'],
    ['listen', 'a b'],
    ['advertise', 'x:99999'],
    ['egressPort', '70000'],
    ['ingressPort', '1.5'],
    ['adminPort', 'any'],
    ['egressAuth', 'maybe'],
    ['to', '{ tools: many }'],
  ])('refuses a malformed %s', (key, value) => {
    const agent = key === 'agent' ? '' : 'agent: a, '
    const { code, findings } = refusalOf(list(`{ ${agent}${key}: ${value} }`))
    expect(code).toBe('CONFIG_INVALID')
    expect(findings).toHaveLength(1)
  })

  it('names everything that is wrong at once', () => {
    expect(
      refusalOf(list('{ agent: a, app: x, egressPort: y }', '{ agent: b, nonsense: 1 }')).findings,
    ).toHaveLength(3)
  })

  it('is bounded in agents, in callees, in bytes and in depth', () => {
    const names = Array.from({ length: 257 }, (_, index) => `n${index}`)
    expect(read(list(...names.slice(1).map((name) => `agent: ${name}`)))).toHaveLength(256)
    const refused = [
      list(...names.map((name) => `agent: ${name}`)),
      list(`{ agent: a, to: { ${names.map((name) => `${name}: 0`).join(', ')} } }`),
      `# ${'x'.repeat(256 * 1024)}`,
      list(`{ agent: ${'['.repeat(5000)}`),
    ]
    for (const yaml of refused) expect(refusalOf(yaml).code).toBe('CONFIG_INVALID')
  })
})
