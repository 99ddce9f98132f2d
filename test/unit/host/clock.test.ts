import { describe, expect, it } from 'vitest'
import { pause, systemClock } from '../../../host/clock.js'
import { manualClock } from '../../support/manual-clock.js'

describe('the system clock', () => {
  it('runs what is due once, and not what was cancelled', async () => {
    const seen: string[] = []
    systemClock.after(1, () => seen.push('cancelled')).cancel()
    await new Promise<void>((resolve) => {
      const guard = setTimeout(resolve, 5000)
      systemClock.after(5, () => {
        seen.push('due')
        clearTimeout(guard)
        resolve()
      })
    })
    expect(seen).toEqual(['due'])
  })

  it('does not run at once what is due in a hundred days', async () => {
    let ran = false
    const timer = systemClock.after(100 * 86_400_000, () => {
      ran = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(ran).toBe(false)
    timer.cancel()
    timer.cancel()
  })

  it('never goes back', () => {
    const before = systemClock.monotonic()
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(before)
  })
})

describe('a pause', () => {
  it('ends when its time is over', async () => {
    const clock = manualClock()
    const pausing = pause(clock, 1000, new AbortController().signal)
    clock.advance(1000)
    await pausing
    expect(clock.pending).toBe(0)
  })

  it('ends at once when it is aborted, and leaves no timer', async () => {
    const clock = manualClock()
    const abort = new AbortController()
    const pausing = pause(clock, 1000, abort.signal)
    abort.abort()
    await pausing
    expect(clock.pending).toBe(0)
  })

  it('does not begin when it was aborted before', async () => {
    const clock = manualClock()
    await pause(clock, 1000, AbortSignal.abort())
    expect(clock.pending).toBe(0)
  })
})
