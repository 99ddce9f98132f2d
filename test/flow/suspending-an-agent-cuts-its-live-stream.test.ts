import { expect, it } from 'vitest'
import { begin, problemIn, request } from '../support/raw-http.js'
import { openSidecars, until, urlOf } from '../support/real-sidecars.js'
import { startCa } from '../support/running-ca.js'
import { readEvents, startApp } from '../support/sse.js'
import { POLICY } from '../support/start-mesh.js'

it('a suspended agent is cut everywhere at once; resumed, its sidecar calls again without a token', async () => {
  await using app = await startApp((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })
  await using ca = await startCa()
  await using sidecars = openSidecars(ca)
  for (const name of ['tickets', 'planner']) await ca.admin('POST', '/v1/agents', { name })
  await ca.admin('PUT', '/v1/policy', { yaml: POLICY })
  await sidecars.start('tickets', { app: app.place })
  const planner = await sidecars.start('planner')
  const served = (what: string) =>
    until(what, async () => {
      const answer = await begin(`${urlOf(planner, 'tickets')}/tickets/events`)
      if (answer.statusCode === 200) return answer
      answer.resume()
      return undefined
    })
  const events = readEvents(await served('the first stream'))
  expect(await events.next()).toBe('first')

  const suspended = await ca.admin('POST', '/v1/agents/planner/suspend', { waitMs: 5000 })
  expect(suspended.json).toMatchObject({ missing: [], ids: [planner.id] })
  expect(await events.over).toBe('broken')
  const refused = await request(`${urlOf(planner, 'tickets')}/tickets/1`)
  expect([refused.status, problemIn(refused).code]).toEqual([403, 'SELF_REVOKED'])

  await ca.admin('POST', '/v1/agents/planner/resume')
  const again = readEvents(await served('the stream after it was resumed'))
  expect(await again.next()).toBe('first')
})
