import { describe, expect, it } from 'vitest'
import { request } from '../support/raw-http.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

const OVERRIDING = [
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
]
const SPELLINGS = OVERRIDING.flatMap((name) => [
  name,
  name.toUpperCase(),
  name.replaceAll('-', '_'),
  name.replace('-', '_'),
])
const LIES = ['DELETE', '/admin/everything']

describe('a header that names another operation than the one that was judged', () => {
  it.each(SPELLINGS)('does not reach the app: %s', async (name) => {
    await using app = await startApp()
    await using mesh = await startMesh()
    await mesh.start('tickets', { app: app.place })
    const planner = await mesh.start('planner')
    for (const lie of LIES) {
      const headers = { [name]: lie, 'x-own': 'kept' }
      expect((await request(`${planner.urlOf('tickets')}/tickets/1`, { headers })).status).toBe(200)
    }
    for (const { method, url, rawHeaders, headers } of app.seen) {
      expect([method, url, headers['x-own']]).toEqual(['GET', '/tickets/1', 'kept'])
      expect(rawHeaders.filter((value) => LIES.includes(value))).toEqual([])
    }
    expect(app.seen.length).toBe(LIES.length)
  })
})
