// Waits until a sidecar is ready: its doors are open at once, but before the CA's first word ever its world permits nothing.

import { pause } from '../host/clock.js'
import { MeshError } from '../mesh/errors.js'
import { listOf, readJson, record, text } from '../mesh/parse.js'
import type { Session } from './session.js'

const LOOK_EVERY_MS = 25
const SAY_AFTER_MS = 3000
const DEADLINE_MS = 30_000

const READ_READINESS = record({ reasons: listOf(text(1024), 64) })

/**
 * Resolves when `/readyz` says yes; says on stderr what it waits for when that takes long.
 * @throws MeshError SIDECAR_UNREADY with the reasons, after 30 s
 */
export async function waitUntilReady({ clock, out }: Session, adminPort: number): Promise<void> {
  const startedAt = clock.monotonic()
  const never = new AbortController().signal
  let said = ''
  for (;;) {
    const reasons = await reasonsAgainst(adminPort)
    if (reasons === null) return
    const waitedMs = clock.monotonic() - startedAt
    if (waitedMs > DEADLINE_MS) throw new MeshError('SIDECAR_UNREADY', `the sidecar is not ready: ${reasons}`)
    if (waitedMs > SAY_AFTER_MS && reasons !== said) {
      said = reasons
      out.say(`waiting: ${reasons}`)
    }
    await pause(clock, LOOK_EVERY_MS, never)
  }
}

/** Null: none. */
async function reasonsAgainst(adminPort: number): Promise<string | null> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/readyz`)
  if (answer.ok) return null
  return readJson(await answer.text(), READ_READINESS, 'readiness').reasons.join(', ')
}
