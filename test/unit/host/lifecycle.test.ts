import { describe, expect, it } from 'vitest'
import { openLifecycle, stopOnSignals } from '../../../host/lifecycle.js'
import { isMeshError, MeshError } from '../../../mesh/errors.js'

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))

async function failureOf(done: Promise<void>): Promise<unknown> {
  return done.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('a lifecycle', () => {
  it('ends what it closes and what it runs in reverse order, one after the other', async () => {
    const seen: string[] = []
    const lifecycle = openLifecycle()
    const loop = (name: string): void =>
      lifecycle.run(name, async (signal) => {
        await untilAborted(signal)
        await new Promise((resolve) => setImmediate(resolve))
        seen.push(name)
      })
    loop('feed')
    lifecycle.defer('ledger', () => void seen.push('ledger'))
    loop('shipper')
    lifecycle.defer('drain', async () => {
      await new Promise((resolve) => setImmediate(resolve))
      seen.push('drain')
    })
    lifecycle.stop()
    lifecycle.stop()
    expect(lifecycle.signal.aborted).toBe(true)
    await lifecycle.done()
    expect(seen).toEqual(['drain', 'shipper', 'ledger', 'feed'])
  })

  it('is stopped by a loop that fails, whose error comes out', async () => {
    const lifecycle = openLifecycle()
    let closed = false
    lifecycle.defer('x', () => {
      closed = true
    })
    lifecycle.run('other', untilAborted)
    lifecycle.run('loop', () => Promise.reject(new MeshError('FEED_STALE', 'x')))
    expect(isMeshError(await failureOf(lifecycle.done()), 'FEED_STALE')).toBe(true)
    expect(closed).toBe(true)
  })

  it('names the loop that had a bug', async () => {
    const lifecycle = openLifecycle()
    lifecycle.run('shipper', () => Promise.reject(new TypeError('bug')))
    const failure = await failureOf(lifecycle.done())
    expect(isMeshError(failure, 'INTERNAL') && failure.message).toBe('shipper failed')
  })

  it('closes everything, even when one of them cannot be closed', async () => {
    const closed: string[] = []
    const lifecycle = openLifecycle()
    lifecycle.defer('first', () => void closed.push('first'))
    lifecycle.defer('second', () => Promise.reject(new Error('stuck')))
    lifecycle.defer('third', () => void closed.push('third'))
    lifecycle.stop()
    expect(isMeshError(await failureOf(lifecycle.done()), 'INTERNAL')).toBe(true)
    expect(closed).toEqual(['third', 'first'])
  })

  it('that goes on without a loop ends when it is stopped, not before', async () => {
    const lifecycle = openLifecycle()
    let over = false
    const done = lifecycle.done().then(() => {
      over = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(over).toBe(false)
    lifecycle.stop()
    await done
  })

  it('is stopped by the first signal, and leaves the second to end the process', () => {
    const before = process.listenerCount('SIGTERM') + process.listenerCount('SIGINT')
    const lifecycle = openLifecycle()
    stopOnSignals(lifecycle)
    process.emit('SIGTERM')
    expect(lifecycle.signal.aborted).toBe(true)
    expect(process.listenerCount('SIGTERM') + process.listenerCount('SIGINT')).toBe(before)
  })
})
