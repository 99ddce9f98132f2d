// `troth run` that is told to end: the call that runs comes to its end before the agent's own process hears of it.

import { expect, it } from 'vitest'
import { freePort, until } from '../support/cli-home.js'
import { openCliMesh, POLICY, pushPolicy } from '../support/cli-mesh.js'
import { begin } from '../support/raw-http.js'
import { readEvents } from '../support/sse.js'

const APP = `
const http = require('node:http')
http.createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write('data: first\\n\\n')
  setTimeout(() => response.end('data: last\\n\\n'), 2000)
}).listen(Number(process.argv[1]), '127.0.0.1')
`

it('lets the running stream end, then passes SIGTERM on to the agent', async () => {
  await using mesh = await openCliMesh()
  const { home } = mesh
  for (const name of ['planner', 'tickets']) await home.ok('agent', 'add', name)
  await pushPolicy(home, POLICY)
  const appPort = String(await freePort())
  const run = home.start(
    ...['run', 'tickets', '--app', `127.0.0.1:${appPort}`, '--', process.execPath, '-e', APP, appPort],
  )
  const planner = await mesh.sidecar('planner')
  const url = `http://127.0.0.1:${planner.ports.egress}/~${planner.credential()}/@tickets/events`
  const stream = await until('tickets', async () => {
    const answer = await begin(url)
    if (answer.statusCode === 200) return answer
    answer.resume()
    return undefined
  })
  const events = readEvents(stream)
  expect(await events.next()).toBe('first')
  // to troth alone, as `kill PID` does; the helper's own kill reaches the app too
  run.child.kill('SIGTERM')
  expect(await events.next()).toBe('last')
  expect(await events.over).toBe('ended')
  expect((await run.ended).code).toBe(143)
})
