import { expect, it } from 'vitest'
import { openBackoff } from '../../../member/backoff.js'

it('doubles up to the cap, each wait shortened by at most a half, and begins again after a success', () => {
  const backoff = openBackoff({ firstMs: 100, capMs: 1000 })
  for (const ceiling of [100, 200, 400, 800, 1000, 1000]) {
    const wait = backoff.next()
    expect(wait).toBeGreaterThanOrEqual(ceiling / 2)
    expect(wait).toBeLessThanOrEqual(ceiling)
  }
  backoff.reset()
  expect(backoff.next()).toBeLessThanOrEqual(100)
})
