// troth cert: certificates for clients without a sidecar (curl, a browser, another language), and the list of all that were issued.

import { Command } from 'commander'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import type { CertInfo } from '../../mesh/wire/admin.js'
import { adminClient } from '../admin-client.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { formatInstant, formatTable } from '../output.js'
import { confirm } from '../prompt.js'
import type { Session } from '../session.js'
import { exportCommand } from './cert/export.js'
import { issueCommand } from './cert/issue.js'
import { showCommand } from './cert/show.js'
import { serialNumber, stateOf } from './cert/state.js'

export const certCommand: DefineCommand = (context) =>
  withExamples(
    new Command('cert')
      .description('certificates: issue one for a foreign client; list, show, revoke, export')
      .addCommand(issueCommand(context))
      .addCommand(listCommand(context))
      .addCommand(showCommand(context))
      .addCommand(revokeCommand(context))
      .addCommand(exportCommand(context)),
    context,
    'cert issue nightly-job --out ./nightly-job',
    'cert list',
  )

const listCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('list')
      .description('list the certificates that were issued')
      .argument('[name]', 'only those of this name', parseAgentName)
      .action(async (name: AgentName | undefined) => {
        const session = context.session()
        list(session, await adminClient(session).certs(name ?? null))
      }),
    context,
    'cert list',
    'cert list planner --json',
  )

const revokeCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('revoke')
      .description('revoke one certificate and those it was renewed into')
      .argument('<serial>', 'hexadecimal', serialNumber)
      .option('--only', 'spare what it was renewed into')
      .option('--yes', 'do not ask')
      .action(async (serial: string, { yes = false, only = false }: { yes?: boolean; only?: boolean }) => {
        const session = context.session()
        await confirm(session, `revoke certificate ${serial}?`, yes)
        const revoked = await adminClient(session).revokeCert(serial, only ? 'only' : 'lineage')
        if (session.json) session.out.json(revoked)
        else for (const each of revoked.serials) session.out.line(`revoked ${each} (epoch ${revoked.epoch})`)
      }),
    context,
    'cert revoke 5f0c2a9d41e8b7730c6d1e9a552f0c6d',
    'cert revoke 5f0c2a9d41e8b7730c6d1e9a552f0c6d --only --yes',
  )

function list({ out, json, clock }: Session, certs: readonly CertInfo[]): void {
  if (json) {
    for (const cert of certs) out.json(cert)
    return
  }
  if (certs.length === 0) {
    out.say('no certificate was issued')
    return
  }
  const rows = certs.map((cert) => [
    cert.serial,
    cert.id,
    stateOf(cert, clock.now()),
    cert.by,
    formatInstant(cert.notAfter),
  ])
  for (const line of formatTable(['SERIAL', 'ID', 'STATE', 'ISSUED BY', 'VALID UNTIL'], rows)) out.line(line)
}
