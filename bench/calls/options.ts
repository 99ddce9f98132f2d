// What the bench of calls is told on the command line.

import { parseArgs } from 'node:util'
import { PEERS, type Peer } from './chains/peers.js'
import { SCENARIOS, type Scenario, type Span } from './scenarios.js'

export interface Options {
  readonly quick: boolean
  readonly scenarios: readonly Scenario[]
  /** Whom to be compared with; null: with the same call made directly. */
  readonly peers: readonly Peer[] | null
  readonly rounds: number
  readonly span: Span
  readonly profile: boolean
  readonly out: string | null
}

const FULL = { rounds: 5, span: { warmMs: 500, windowMs: 1500 } }
const QUICK = { rounds: 2, span: { warmMs: 150, windowMs: 600 } }
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
  const { rounds, span } = values.quick ? QUICK : FULL
  return {
    quick: values.quick,
    scenarios: values.only === undefined ? SCENARIOS : values.only.split(',').map(scenarioOf),
    peers: values.peers === undefined ? null : values.peers.split(',').map(peerOf),
    rounds: values.rounds === undefined ? rounds : roundsOf(values.rounds),
    span,
    profile: values.profile,
    out: values.out ?? null,
  }
}

function scenarioOf(name: string): Scenario {
  const scenario = SCENARIOS.find((each) => each.name === name)
  if (scenario !== undefined) return scenario
  throw new Error(`there is no scenario ${name}; there are ${SCENARIOS.map((each) => each.name).join(', ')}`)
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
