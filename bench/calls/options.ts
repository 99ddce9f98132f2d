// What the bench of calls is told on the command line.

import { parseArgs } from 'node:util'
import { PEERS, type Peer } from './chains/peers.js'
import { SCENARIOS, type Scenario, type Span } from './scenarios.js'

export interface Options {
  readonly quick: boolean
  readonly scenarios: readonly Scenario[]
  /** Also looks at memory and at a pair that idles. */
  readonly memory: boolean
  /** Whom to be compared with; null: with the same call made directly. */
  readonly peers: readonly Peer[] | null
  /** As told; null: each scenario's own. */
  readonly rounds: number | null
  readonly span: Span
  readonly profile: boolean
  readonly out: string | null
}

export const MEMORY = 'memory'

const FULL = { warmMs: 500, windowMs: 1500 }
const QUICK = { warmMs: 100, windowMs: 500 }
const FULL_ROUNDS = 5
const QUICK_ROUNDS = 2
const MAX_ROUNDS = 100

/** @throws Error that says what was wrong */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      peers: { type: 'string' },
      rounds: { type: 'string' },
      profile: { type: 'boolean', default: false },
      out: { type: 'string' },
    },
  })
  const { quick, profile } = values
  const names = values.only?.split(',') ?? null
  const all = SCENARIOS.filter(({ quickRounds }) => !quick || quickRounds > 0 || values.peers !== undefined)
  return {
    quick,
    scenarios: names === null ? all : names.filter((name) => name !== MEMORY).map(scenarioOf),
    memory: names?.includes(MEMORY) ?? true,
    peers: values.peers === undefined ? null : values.peers.split(',').map(peerOf),
    rounds: values.rounds === undefined ? null : roundsOf(values.rounds),
    span: quick ? QUICK : FULL,
    profile,
    out: values.out ?? null,
  }
}

/** How often each pair of this scenario runs. */
export function roundsFor({ quickRounds }: Scenario, { rounds, quick, peers }: Options): number {
  if (rounds !== null) return rounds
  if (!quick) return FULL_ROUNDS
  return peers === null ? Math.max(quickRounds, 1) : QUICK_ROUNDS
}

function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS.find((each) => each.name === name)
  if (scenario !== undefined) return scenario
  const names = [...SCENARIOS.map((each) => each.name), MEMORY].join(', ')
  throw new Error(`there is no scenario ${name}; there are ${names}`)
}

function peerOf(name: string): Peer {
  const peer = PEERS.find((each) => each === name)
  if (peer === undefined) throw new Error(`there is no peer ${name}; there are ${PEERS.join(', ')}`)
  return peer
}

function roundsOf(raw: string): number {
  const rounds = Number(raw)
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= MAX_ROUNDS) return rounds
  throw new Error(`--rounds takes a whole number from 1 to ${MAX_ROUNDS}`)
}
