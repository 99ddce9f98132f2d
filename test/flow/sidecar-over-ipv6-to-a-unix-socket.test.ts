import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http, { type IncomingHttpHeaders } from 'node:http'
import { networkInterfaces, tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { request } from '../support/raw-http.js'
import { startMesh } from '../support/start-mesh.js'

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((each) => each?.address === '::1')

it.skipIf(!hasIpv6)('a call goes over [::1] to an app behind a Unix socket', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'us-'))
  const seen: IncomingHttpHeaders[] = []
  const app = http.createServer((incoming, response) => {
    seen.push(incoming.headers)
    incoming.pipe(response)
  })
  const socketPath = path.join(dir, 'app.sock')
  app.listen(socketPath)
  await once(app, 'listening')
  try {
    await using mesh = await startMesh()
    const tickets = await mesh.start('tickets', { app: { socketPath }, listen: '::1' })
    const planner = await mesh.start('planner')
    const answer = await request(`${planner.urlOf('tickets')}/tickets/1`, { method: 'POST', body: 'hello' })
    expect([answer.status, answer.body.toString()]).toEqual([200, 'hello'])
    expect(seen[0]).toMatchObject({ host: 'localhost', 'x-troth-caller': planner.id })
    expect(await tickets.records.end()).toMatchObject({ outcome: 'completed', bytesIn: 5, bytesOut: 5 })
    await expect(request(`http://127.0.0.1:${tickets.ports.ingress}/`)).rejects.toThrow('ECONNREFUSED')
  } finally {
    app.close()
    app.closeAllConnections()
    rmSync(dir, { recursive: true, force: true })
  }
})
