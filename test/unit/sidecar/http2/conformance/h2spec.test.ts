// The cases of h2spec 2.6 in sections generic, http2 and hpack as our own tests, each also cut at every byte: where the network cuts must
// not matter. `node:http2` passes 135 to 138 of them.

import { describe, expect, it } from 'vitest'
import type { ServerEvents } from '../../../../../sidecar/http2/contract.js'
import { helloEvents } from '../../../../support/http2-hello.js'
import { HELLO, openServer, PREFACE, parseFrames } from '../../../../support/http2-raw.js'
import type { Case } from './case.js'
import { DEFINITIONS } from './definition-cases.js'
import { FRAMES } from './frame-cases.js'
import { GENERIC } from './generic-cases.js'
import { MESSAGES } from './message-cases.js'

const CASES: readonly Case[] = [...GENERIC, ...FRAMES, ...DEFINITIONS, ...MESSAGES]
const EVENTS: ServerEvents = helloEvents()

/** Steps with more bytes than this are cut near their ends and at every 512th byte only. */
const EVERY_BYTE = 600

describe('h2spec', () => {
  it('has 147 cases, the strict one among them', () => {
    expect(new Set(CASES.map(({ id }) => id)).size).toBe(147)
    expect(CASES).toHaveLength(147)
  })

  for (const one of CASES)
    it(`${one.id}: ${one.title} -> ${one.expects.says}`, () => {
      const sent = run(one, [])
      expect(one.expects.holds(parseFrames(sent))).toBe(true)
      const cuts = one.steps.flatMap((step, index) => cutsOf(step.length).map((at) => [index, at] as const))
      expect(cuts.filter((cut) => !run(one, cut).equals(sent))).toEqual([])
      expect(run(one, 'byte by byte').equals(sent)).toBe(true)
    })
})

/** Everything the server sends. @param cut which step is fed in two parts, and where */
function run({ steps, isWhole }: Case, cut: readonly number[] | 'byte by byte'): Buffer {
  const bench = openServer(EVENTS)
  if (isWhole !== true) bench.feed(PREFACE, HELLO)
  steps.forEach((step, index) => {
    if (cut === 'byte by byte') {
      for (let at = 0; at < step.length; at++) bench.connection.feed(step.subarray(at, at + 1))
      bench.turn()
    } else if (cut[0] === index) bench.feed(step.subarray(0, cut[1]), step.subarray(cut[1]))
    else bench.feed(step)
  })
  return Buffer.concat(bench.writes)
}

function cutsOf(length: number): number[] {
  const cuts: number[] = []
  for (let at = 1; at < length; at++)
    if (length <= EVERY_BYTE || at < 20 || at > length - 20 || at % 512 === 0) cuts.push(at)
  return cuts
}
