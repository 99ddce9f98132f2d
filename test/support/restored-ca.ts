// A CA that is lost and restored from its backup on the same port, and members that tell it what they know to be withdrawn.

import { randomUUID, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'vitest'
import { backupCa } from '../../ca/recovery/backup.js'
import { restoreCa } from '../../ca/recovery/restore.js'
import { systemClock } from '../../host/clock.js'
import { keyFingerprintOf } from '../../mesh/authorities.js'
import type { RevokedSerial } from '../../mesh/wire/feed.js'
import { READ_RECOVERY, type RecoveryShown } from '../../mesh/wire/recovery.js'
import { answerOf, startCa, type TestCa, type TestMember } from './running-ca.js'

const PASSPHRASE = 'backup passphrase'

/** A CA, its backup, what happened after it, and the CA restored in another home on the same port. */
export async function drill(steps: {
  before?: (ca: TestCa) => Promise<void>
  after?: (ca: TestCa) => Promise<void>
}): Promise<TestCa & { takenAt: number }> {
  const first = await startCa()
  const dir = mkdtempSync(path.join(tmpdir(), 'tbackup-'))
  const home = mkdtempSync(path.join(tmpdir(), 'tca-'))
  try {
    await steps.before?.(first)
    const file = path.join(dir, 'ca.backup')
    const { takenAt } = await backupCa({ home: first.home, file, passphrase: PASSPHRASE, clock: systemClock })
    await steps.after?.(first)
    const { port } = first.running
    await first[Symbol.asyncDispose]()
    await restoreCa({ home, file, passphrase: PASSPHRASE, address: null, clock: systemClock })
    return Object.assign(await startCa({ there: { home, port } }), { takenAt })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

export async function recoveryOf(ca: TestCa): Promise<RecoveryShown['recovery']> {
  const { recovery } = answerOf(await ca.admin('GET', '/v1/recovery'), READ_RECOVERY)
  return recovery
}

/** As a member that knows so much. */
export async function tell(
  ca: TestCa,
  member: TestMember,
  known: { ids?: readonly string[]; serials?: readonly RevokedSerial[] },
): Promise<void> {
  const feed = await ca.feed(member)
  feed.send({ type: 'hello', position: { generation: randomUUID(), epoch: 3 }, capabilities: [] })
  expect((await feed.next('snapshot')).returns).toBe(true)
  feed.sendRaw(
    JSON.stringify({ type: 'known', ids: known.ids ?? [], serials: known.serials ?? [], last: true }),
  )
  await until(
    async () =>
      (await recoveryOf(ca))?.missing.every(({ instanceId }) => instanceId !== member.instanceId) === true,
  )
  feed.close()
}

export function issuerOf(member: TestMember): string {
  const [, issuing = ''] = member.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/)
  return keyFingerprintOf(new X509Certificate(issuing))
}

export async function until(isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 5000
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error('it did not come to be')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
