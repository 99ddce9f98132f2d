import { describe, expect, it } from 'vitest'
import { Sender } from '../../../../sidecar/http1/sender.js'
import { FakeWire } from '../../../support/http1-talk.js'

interface Bench {
  readonly wire: FakeWire
  readonly sender: Sender
  readonly drained: () => number
  /** Ends one turn: the write that is under way, then the flush. */
  readonly turn: () => void
}

function open(isInstant: boolean): Bench {
  const wire = new FakeWire()
  wire.isInstant = isInstant
  let drained = 0
  const sender = new Sender(wire, {
    onDrained: () => {
      drained += 1
    },
  })
  return {
    wire,
    sender,
    drained: () => drained,
    turn() {
      if (wire.isOutstanding) {
        wire.isOutstanding = false
        sender.written()
      }
      if (!wire.isScheduled) return
      wire.isScheduled = false
      sender.flushed()
    },
  }
}

describe.each([
  ['that takes text at once', true],
  ['that says later what it took', false],
])('on a wire %s', (_what, isInstant) => {
  it('what was said is there in order, whatever it came as, at the end of a turn', () => {
    const { wire, sender, turn } = open(isInstant)
    sender.text('a')
    sender.wake()
    expect(wire.output).toBe('')
    turn()
    sender.text('b')
    sender.bytes(Buffer.alloc(10_000, 'c'))
    sender.wake()
    turn()
    sender.text('d')
    sender.wake()
    for (let turns = 0; turns < 4; turns++) turn()
    expect(wire.output).toBe(`ab${'c'.repeat(10_000)}d`)
  })

  it('our side is over behind the last byte, and the wire closed', () => {
    const { wire, sender, turn } = open(isInstant)
    sender.text('last')
    sender.shut()
    for (let turns = 0; turns < 2; turns++) turn()
    expect([wire.output, wire.isShut, wire.isClosed]).toEqual(['last', true, false])
    sender.end()
    expect(wire.isClosed).toBe(true)
    sender.text('late')
    sender.wake()
    turn()
    expect(wire.output).toBe('last')
  })

  it('who was held back hears once that all has left, and not amidst its own writing', () => {
    const { wire, sender, drained, turn } = open(isInstant)
    for (let nth = 0; nth < 20; nth++) sender.text('x'.repeat(4096))
    expect(sender.wakeOrHold()).toBe(false)
    expect(drained()).toBe(0)
    for (let turns = 0; turns < 3; turns++) turn()
    expect([drained(), wire.output.length]).toEqual([1, 20 * 4096])
    expect(sender.isFull()).toBe(false)
  })
})
