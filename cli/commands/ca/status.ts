// troth ca status: what one wants to know of the CA at a glance: its place, how long its CAs are good, where the root's key is, and
// how far a rotation has come.

import { Command } from 'commander'
import type { Status } from '../../../mesh/wire/admin.js'
import type { RecoveryShown } from '../../../mesh/wire/recovery.js'
import { adminClient } from '../../admin-client.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { formatFields, formatInstant } from '../../output.js'
import type { Session } from '../../session.js'
import { sayingOf } from './rotate.js'

export const statusCommand: DefineCommand = (context) =>
  withExamples(
    new Command('status')
      .description('how the CA stands: validity, keys, rotation, members')
      .action(() => status(context.session())),
    context,
    'ca status',
    'ca status --json',
  )

async function status(session: Session): Promise<void> {
  const { out, json } = session
  const admin = adminClient(session)
  const shown = await admin.status()
  const { recovery } = await admin.recovery()
  if (json) {
    out.json({ ...shown, recovery })
    return
  }
  for (const line of formatFields(fieldsOf(shown))) out.line(line)
  if (recovery !== null) for (const line of formatFields([waitingOf(recovery)])) out.line(line)
  if (shown.rotation !== null) for (const line of sayingOf(shown.rotation)) out.line(line)
}

function waitingOf(recovery: NonNullable<RecoveryShown['recovery']>): readonly [string, string] {
  const { endedAt, awaited, missing, takenAt } = recovery
  const told = `${awaited - missing.length} of ${awaited} instances have told`
  const waits = endedAt === null ? `; issues nothing, ${told}: see troth ca recovery` : ''
  return ['restored', `from the backup of ${formatInstant(takenAt)}${waits}`]
}

function fieldsOf(shown: Status): (readonly [string, string])[] {
  const { rootKeyHere, rootKeyLabel, rotation, now } = shown
  const lasting = (notAfter: number, dueAt: number): string =>
    `until ${formatInstant(notAfter)}, ${now < dueAt ? `rotate before ${formatInstant(dueAt)}` : 'rotation is due'}`
  const key = { true: `here (${rootKeyLabel})`, false: 'not on this host', null: 'on a token' }
  return [
    ['trust domain', shown.trustDomain],
    ['address', shown.address],
    ['root', `sha256:${shown.rootFingerprint}, ${lasting(shown.rootNotAfter, shown.rootDueAt)}`],
    ['issuing CA', lasting(shown.issuingNotAfter, shown.issuingDueAt)],
    ['root key', key[`${rootKeyHere}`]],
    ['members', String(shown.members)],
    ['epoch', `${shown.epoch} of ${shown.generation}, policy version ${shown.policyVersion}`],
    [
      'rotation',
      rotation === null
        ? 'none'
        : `${rotation.kind} CA${rotation.compromised ? ' (compromised)' : ''}, since ${formatInstant(rotation.startedAt)}; this phase since ${formatInstant(rotation.since)}`,
    ],
  ]
}
