// A timer that waited for the end of its leaf once held every connection that was closed before: sockets, codecs and what they had gathered,
// for as long as a leaf is good.

import { expect, it } from 'vitest'
import { manualClock } from '../support/manual-clock.js'
import { openAttacker, openSiege, SIEGE_POLICY } from '../support/siege.js'
import { startApp } from '../support/sse.js'
import { startMesh } from '../support/start-mesh.js'

it('a connection that is closed leaves no timer behind', async () => {
  const clock = manualClock()
  await using app = await startApp()
  await using mesh = await startMesh(SIEGE_POLICY)
  const siege = await openSiege(mesh, app, clock)
  const comeAndGo = async (): Promise<void> => {
    const peer = await openAttacker(mesh, siege, siege.mallory)
    await peer.sendAndKnow()
    peer.destroy()
    await peer.over
  }
  await comeAndGo()
  const before = clock.pending
  for (let nth = 0; nth < 20; nth++) await comeAndGo()
  // the end of the last one may not have arrived
  expect(clock.pending).toBeLessThanOrEqual(before + 2)
})
