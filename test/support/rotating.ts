// Rotates the CAs of a running test CA as `troth ca rotate` does: the root's key is opened here, in the command's place.

import { signForRotation } from '../../ca/rotate.js'
import { systemClock } from '../../host/clock.js'
import {
  READ_ROTATION_NOW,
  READ_ROTATION_OPEN,
  type Rotate,
  type RotationOpen,
  type RotationShown,
  type Signed,
  type ToSign,
} from '../../mesh/wire/rotation.js'
import { answerOf, PASSPHRASES, type TestCa } from './running-ca.js'

export async function begin(ca: TestCa, wanted: Rotate): Promise<RotationOpen> {
  return answerOf(await ca.admin('POST', '/v1/rotation', wanted), READ_ROTATION_OPEN)
}

export function sign(ca: TestCa, toSign: ToSign): Promise<Signed> {
  const { home } = ca
  const root = { rootPassphrase: PASSPHRASES.root, rootKeyFile: null }
  return signForRotation({ home, dev: true, ...root, clock: systemClock }, toSign)
}

/** Opens, has the root sign, delivers. */
export async function rotate(ca: TestCa, wanted: Rotate): Promise<void> {
  const { toSign } = await begin(ca, wanted)
  if (toSign !== null)
    answerOf(await ca.admin('PUT', '/v1/rotation/certificates', await sign(ca, toSign)), READ_ROTATION_NOW)
}

export async function rotationOf(ca: TestCa): Promise<RotationShown | null> {
  return answerOf(await ca.admin('GET', '/v1/rotation'), READ_ROTATION_NOW).rotation
}

/** Resolves when no rotation is open. */
export async function rotated(ca: TestCa, deadlineMs = 18_000): Promise<void> {
  const end = performance.now() + deadlineMs
  for (;;) {
    const rotation = await rotationOf(ca)
    if (rotation === null) return
    if (performance.now() > end) throw new Error(`it never ended: ${JSON.stringify(rotation)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
