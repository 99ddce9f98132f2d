// troth cert: certificates for clients without a sidecar (curl, a browser, another language), and the list of all that were issued.

import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { Command } from 'commander'
import { makePrivateDir, writeSecret } from '../../host/files.js'
import { MeshError } from '../../mesh/errors.js'
import { type AgentName, parseAgentName } from '../../mesh/spiffe-id.js'
import type { CertInfo } from '../../mesh/wire/admin.js'
import { type AdminClient, adminClient } from '../admin-client.js'
import { type CommandContext, type DefineCommand, withExamples } from '../command.js'
import { registerUnknown } from '../enrol-by.js'
import { quoted } from '../exit.js'
import { formatFields, formatInstant, formatTable } from '../output.js'
import { confirm } from '../prompt.js'
import type { Session } from '../session.js'
import { exportCommand } from './cert/export.js'
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

const issueCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('issue')
      .description('issue a certificate for a client without a sidecar; its key is made here')
      .argument('<name>', 'the agent it speaks for', parseAgentName)
      .requiredOption('--out <dir>', 'where key.pem, cert.pem and bundle.pem are written')
      .action((name: AgentName, { out }: { out: string }) => issue(context.session(), name, out)),
    context,
    'cert issue nightly-job --out ./nightly-job',
    'cert issue nightly-job --out ./nightly-job --json',
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

async function issue(session: Session, name: AgentName, given: string): Promise<void> {
  const { out, json, cwd } = session
  const dir = path.resolve(cwd, given)
  const files = {
    key: path.join(dir, 'key.pem'),
    cert: path.join(dir, 'cert.pem'),
    bundle: path.join(dir, 'bundle.pem'),
  }
  for (const file of Object.values(files))
    if (existsSync(file))
      throw new MeshError('CONFIG_EXISTS', `${file} exists already`, {
        hint: 'name another directory with --out',
      })
  const { makeKeyAndCsr } = await import('../../member/identity/csr.js')
  const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: name, instanceId: randomUUID() })
  const admin = adminClient(session)
  await registerUnknown(session, admin, { kind: 'agent', name })
  const issued = await admin.issueCert({ name, csrPem })
  makePrivateDir(dir)
  writeSecret(files.key, keyPem)
  writeSecret(files.cert, issued.chainPem)
  writeSecret(files.bundle, issued.bundlePem)
  if (json) {
    out.json({ id: issued.spiffeId, ...files })
    return
  }
  for (const line of formatFields([['id', issued.spiffeId], ...Object.entries(files)])) out.line(line)
  out.say('try it (the policy decides what it may call):')
  out.line(await curlLine(admin, name, files))
}

/** A command that reaches the ingress of an agent that is online now; with placeholders when there is none. */
async function curlLine(
  admin: AdminClient,
  name: AgentName,
  { key, cert, bundle }: { key: string; cert: string; bundle: string },
): Promise<string> {
  const online = (await admin.agents())
    .filter((agent) => agent.kind === 'agent' && agent.name !== name)
    .flatMap(({ name: callee, instances }) =>
      instances.flatMap(({ connected, endpoint }) =>
        connected && endpoint !== null ? [{ callee: `${callee}.mesh`, endpoint }] : [],
      ),
    )[0] ?? { callee: 'CALLEE.mesh', endpoint: 'HOST:INGRESS_PORT' }
  const pem = `--cert ${quoted(cert)} --key ${quoted(key)} --cacert ${quoted(bundle)}`
  return `curl ${pem} --connect-to ${online.callee}:443:${online.endpoint} https://${online.callee}/`
}

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
