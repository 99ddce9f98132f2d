// troth cert issue: a certificate for a client without a sidecar. Its key is made here, or stays where the request came from (--csr):
// then no key is seen at all.

import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { Command } from 'commander'
import { makePrivateDir, writeFileAtomic, writeSecret } from '../../../host/files.js'
import { isMeshError, MeshError } from '../../../mesh/errors.js'
import { type AgentName, parseAgentName } from '../../../mesh/spiffe-id.js'
import type { Enrolment } from '../../../mesh/wire/enrolment.js'
import { type AdminClient, adminClient } from '../../admin-client.js'
import { type CommandContext, withExamples } from '../../command.js'
import { registerUnknown } from '../../enrol-by.js'
import { quoted } from '../../exit.js'
import { readGiven } from '../../given-file.js'
import { formatFields } from '../../output.js'
import type { Session } from '../../session.js'

interface Options {
  readonly out?: string
  readonly csr?: string
  readonly allowEd25519?: boolean
}

export const issueCommand = (context: CommandContext): Command =>
  withExamples(
    new Command('issue')
      .description(
        'issue a certificate for a client without a sidecar; its key is made here unless it brings a request',
      )
      .argument('<name>', 'the agent it speaks for', parseAgentName)
      .option('--out <dir>', 'where cert.pem and bundle.pem are written, and key.pem without --csr')
      .option('--csr <file>', 'certificate request (PEM): ECDSA P-256 or P-384, or RSA from 2048 bits')
      .option('--allow-ed25519', 'take a request with an Ed25519 key, which not every TLS stack does')
      .action((name: AgentName, options: Options) => issue(context.session(), name, options)),
    context,
    'cert issue nightly-job --out ./nightly-job',
    'cert issue legacy --csr legacy.csr --out ./legacy',
  )

function issue(session: Session, name: AgentName, options: Options): Promise<void> {
  const { csr, allowEd25519 = false } = options
  if (csr !== undefined) return sign(session, name, { ...options, csr, allowEd25519 })
  if (options.out === undefined)
    throw new MeshError('USAGE', 'where the key and the certificate go was not said', {
      hint: `troth cert issue ${name} --out ./${name}`,
    })
  return make(session, name, options.out)
}

/** Key and certificate. */
async function make(session: Session, name: AgentName, given: string): Promise<void> {
  const { out, json } = session
  const { dir, ...files } = placesOf(session, given, ['key', 'cert', 'bundle'])
  const { makeKeyAndCsr } = await import('../../../member/identity/csr.js')
  const { keyPem, csrPem } = await makeKeyAndCsr({ commonName: name, instanceId: randomUUID() })
  const admin = adminClient(session)
  await registerUnknown(session, admin, { kind: 'agent', name })
  const issued = await admin.issueCert({ name, csrPem, allowEd25519: false })
  makePrivateDir(dir)
  writeSecret(files.key, keyPem)
  writeSecret(files.cert, issued.chainPem)
  writeSecret(files.bundle, issued.bundlePem)
  show(session, issued, files)
  if (json) return
  out.say('try it (the policy decides what it may call):')
  out.line(await curlLine(admin, name, files))
}

/** The certificate for a key that somebody else holds. */
async function sign(
  session: Session,
  name: AgentName,
  { csr, out = '.', allowEd25519 }: { csr: string; out?: string; allowEd25519: boolean },
): Promise<void> {
  const { dir, ...files } = placesOf(session, out, ['cert', 'bundle'])
  const csrPem = readGiven(path.resolve(session.cwd, csr), 'name the file that holds the certificate request')
  if (csrPem.length > CSR_MAX || !csrPem.includes('-----BEGIN'))
    throw new MeshError('CSR_INVALID', `${csr} holds no certificate request in PEM`)
  const admin = adminClient(session)
  // the request is judged before its name is registered, so that a bad one leaves nothing behind
  const issued = await admin
    .issueCert({ name, csrPem: csrPem.trim(), allowEd25519 })
    .catch((error: unknown) => {
      throw hinted(error, allowEd25519)
    })
  mkdirSync(dir, { recursive: true })
  // what everybody may see
  writeFileAtomic(files.cert, issued.chainPem, 0o644)
  writeFileAtomic(files.bundle, issued.bundlePem, 0o644)
  show(session, issued, files)
}

const CSR_MAX = 16_384

/** A key that the operator could allow is refused with the word that allows it. */
function hinted(error: unknown, allowEd25519: boolean): unknown {
  return isMeshError(error, 'CSR_KEY_UNSUPPORTED') && !allowEd25519 && /ed25519/i.test(error.message)
    ? new MeshError(error.code, error.message, {
        cause: error,
        hint: `if its TLS stack and those it calls take Ed25519, add --allow-ed25519; else ${error.hint}`,
      })
    : error
}

/** The files to write. @throws MeshError CONFIG_EXISTS when one is there */
function placesOf<const N extends string>(
  { cwd }: Session,
  given: string,
  names: readonly N[],
): { dir: string } & Record<N, string> {
  const dir = path.resolve(cwd, given)
  const files = Object.fromEntries(names.map((name) => [name, path.join(dir, `${name}.pem`)])) as Record<
    N,
    string
  >
  for (const file of Object.values<string>(files))
    if (existsSync(file))
      throw new MeshError('CONFIG_EXISTS', `${file} exists already`, {
        hint: 'name another directory with --out',
      })
  return { dir, ...files }
}

function show({ out, json }: Session, { spiffeId }: Enrolment, files: Record<string, string>): void {
  if (json) out.json({ id: spiffeId, ...files })
  else for (const line of formatFields([['id', spiffeId], ...Object.entries(files)])) out.line(line)
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
