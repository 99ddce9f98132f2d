import { describe, expect, it } from 'vitest'
import { openTurn } from '../../../host/turn.js'
import { openTurnClock } from '../../../host/turn-clock.js'
import { manualClock } from '../../support/manual-clock.js'

function open() {
  const clock = manualClock()
  let looks = 0
  const counted = {
    now: () => {
      looks += 1
      return clock.now()
    },
    monotonic: () => clock.monotonic(),
    after: clock.after.bind(clock),
  }
  const turn = openTurn((error) => {
    throw error
  })
  return { clock, turnClock: openTurnClock(counted, turn), looks: () => looks }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe('the clock of a turn', () => {
  it('is looked at once in a turn, however often it is asked', () => {
    const { clock, turnClock, looks } = open()
    const [wall, monotonic] = [turnClock.now(), turnClock.monotonic()]
    clock.advance(50)
    expect([turnClock.now(), turnClock.monotonic()]).toEqual([wall, monotonic])
    expect(looks()).toBe(1)
  })

  it('is looked at again in the next turn, also when nothing else happened in the last', async () => {
    const { clock, turnClock } = open()
    const [wall, monotonic] = [turnClock.now(), turnClock.monotonic()]
    clock.advance(50)
    await nextTurn()
    expect([turnClock.now() - wall, turnClock.monotonic() - monotonic]).toEqual([50, 50])
  })

  it('leaves timers to the clock behind it', () => {
    const { clock, turnClock } = open()
    let fired = 0
    turnClock.after(100, () => {
      fired += 1
    })
    clock.advance(99)
    expect(fired).toBe(0)
    clock.advance(1)
    expect(fired).toBe(1)
  })
})
