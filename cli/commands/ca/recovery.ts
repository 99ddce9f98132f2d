// troth ca recovery: what a restored CA waits for, and the operator's word that this is enough.

import { Command } from 'commander'
import { type AgentName, parseAgentName } from '../../../mesh/spiffe-id.js'
import type { RecoveryShown } from '../../../mesh/wire/recovery.js'
import { adminClient } from '../../admin-client.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { formatFields, formatInstant } from '../../output.js'
import { confirm } from '../../prompt.js'
import { asTyped, type Session } from '../../session.js'

interface Options {
  readonly confirm?: boolean
  readonly disbelieve: readonly AgentName[]
  readonly yes?: boolean
}

export const recoveryCommand: DefineCommand = (context) =>
  withExamples(
    new Command('recovery')
      .description('what a restored CA waits for; --confirm ends the waiting')
      .option('--confirm', 'issue certificates again, without those that are missing')
      .option(
        '--disbelieve <name>',
        'with --confirm: what only this agent says is revoked is not; repeatable',
        (name: string, before: readonly AgentName[]) => [...before, parseAgentName(name)],
        [] as readonly AgentName[],
      )
      .option('--yes', 'do not ask')
      .action((options: Options) => recovery(context.session(), options)),
    context,
    'ca recovery',
    'ca recovery --confirm --yes',
  )

async function recovery(session: Session, options: Options): Promise<void> {
  const admin = adminClient(session)
  const before = await admin.recovery()
  if (options.confirm !== true) {
    show(session, before)
    return
  }
  const missing = before.recovery?.missing.length ?? 0
  const held = before.recovery?.claims.filter(({ inForce }) => !inForce).length ?? 0
  const question = `Issue again without ${missing} instances, and revoke the ${held} that only some name?`
  await confirm(session, question, options.yes === true)
  await admin.confirmRecovery([...options.disbelieve])
  show(session, await admin.recovery())
}

function show(session: Session, { recovery: state }: RecoveryShown): void {
  const { out, json } = session
  if (json) {
    out.json(state ?? { restored: false })
    return
  }
  if (state === null) {
    out.line('this CA was not restored from a backup')
    return
  }
  const { takenAt, restoredAt, endedAt, endedBy, awaited, missing, claims } = state
  const ended = endedAt === null ? 'no: it issues nothing' : `${formatInstant(endedAt)} by ${endedBy ?? ''}`
  const fields = [
    ['backup as of', formatInstant(takenAt)],
    ['restored', formatInstant(restoredAt)],
    ['ended', ended],
    ['have told', `${awaited - missing.length} of ${awaited} instances`],
  ] as const
  for (const line of formatFields(fields)) out.line(line)
  for (const { id, instanceId } of missing) out.line(`missing  ${id} ${instanceId}`)
  for (const { id, serial, by, inForce } of claims)
    out.line(
      `${inForce ? 'revoked' : 'claimed'}  ${id}${serial === null ? '' : ` ${serial}`}  says ${by.join(' ')}`,
    )
  if (endedAt === null)
    out.say(`to go on without the missing: ${asTyped(session, 'ca recovery --confirm [--disbelieve NAME]')}`)
}
