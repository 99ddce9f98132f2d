import { describe, expect, it } from 'vitest'
import { openSweep, type Swept, UNWATCHED } from '../../../host/sweep.js'
import { manualClock } from '../../support/manual-clock.js'

/** Ends at `until`, and says when it was looked at. */
function openItem(until: number): Swept & { looks: number[]; isOver: boolean } {
  return {
    watchedAt: UNWATCHED,
    looks: [],
    isOver: false,
    look(now) {
      this.looks.push(now)
      if (now < until) return until
      this.isOver = true
      return Number.POSITIVE_INFINITY
    },
  }
}

describe('a sweep', () => {
  it('looks at a thing when its time has come, and not again when it is over', () => {
    const clock = manualClock()
    const sweep = openSweep(clock)
    const item = openItem(1000)
    sweep.watch(item, 1000)
    clock.advance(999)
    expect(item.looks).toEqual([])
    clock.advance(30)
    expect(item.isOver).toBe(true)
    clock.advance(10_000)
    expect(item.looks).toHaveLength(1)
  })

  it('has one timer for many things, and none when nothing is watched', () => {
    const clock = manualClock()
    const sweep = openSweep(clock)
    const items = [300, 100, 200].map(openItem)
    for (const [nth, item] of items.entries()) sweep.watch(item, [300, 100, 200][nth] ?? 0)
    expect(clock.pending).toBe(1)
    clock.advance(1000)
    expect(items.map(({ isOver }) => isOver)).toEqual([true, true, true])
    expect(clock.pending).toBe(0)
  })

  it('comes earlier when it is asked to, and not at all when the thing is forgotten', () => {
    const clock = manualClock()
    const sweep = openSweep(clock)
    const [early, forgotten] = [openItem(50), openItem(50)]
    sweep.watch(early, 5000)
    sweep.watch(early, 50)
    sweep.watch(forgotten, 50)
    sweep.forget(forgotten)
    clock.advance(100)
    expect([early.isOver, forgotten.looks]).toEqual([true, []])
  })

  it('looks at all others although one forgets some, itself too, and watches another', () => {
    const clock = manualClock()
    const sweep = openSweep(clock)
    const items = Array.from({ length: 9 }, () => openItem(100))
    const [late, ...others] = items
    const reckless = {
      ...openItem(100),
      look(): number {
        sweep.forget(this)
        for (const gone of [items[1], items[7]]) if (gone !== undefined) sweep.forget(gone)
        if (late !== undefined) sweep.watch(late, 200)
        return Number.POSITIVE_INFINITY
      },
    }
    for (const item of [...others.slice(0, 4), reckless, ...others.slice(4)]) sweep.watch(item, 100)
    clock.advance(1000)
    const seen = others.map(({ isOver }) => isOver)
    // the one before it was forgotten unseen, the one behind it was seen before
    expect(seen).toEqual([false, true, true, true, true, true, true, true])
    expect(late?.isOver).toBe(true)
    expect(clock.pending).toBe(0)
    // all of them can be watched again
    const again = openItem(1100)
    sweep.watch(again, 1100)
    sweep.watch(reckless, 1100)
    clock.advance(1000)
    expect(again.isOver).toBe(true)
  })
})
