// troth init: makes the CA of a home, its config.yaml and a policy.yaml that grants nothing yet.

import { existsSync } from 'node:fs'
import path from 'node:path'
import { Command } from 'commander'
import type { Tokens } from '../../ca/init.js'
import { formatConfig } from '../../host/config.js'
import { makePrivateDir, writeFileAtomic } from '../../host/files.js'
import { MeshError } from '../../mesh/errors.js'
import { parseTrustDomain, type TrustDomain } from '../../mesh/spiffe-id.js'
import { host } from '../arguments.js'
import { type DefineCommand, withExamples } from '../command.js'
import { formatFields, formatInstant } from '../output.js'
import { readNewPassphrases } from '../passphrase.js'
import { asTyped, type Session } from '../session.js'

interface Options {
  readonly trustDomain: TrustDomain
  readonly address: string
  readonly passphraseFile?: string
  readonly rootPassphraseFile?: string
  readonly pkcs11Module?: string
  readonly pkcs11Token?: string
  readonly pkcs11RootToken?: string
}

export const initCommand: DefineCommand = (context) =>
  withExamples(
    new Command('init')
      .description('make a CA, its configuration and an empty policy in this home')
      .requiredOption('--trust-domain <name>', 'the name of the mesh, e.g. acme.internal', parseTrustDomain)
      .option('--address <host>', 'where other hosts reach the CA and the collector', host, '127.0.0.1')
      .option('--passphrase-file <file>', 'passphrase of the issuing CA, or PIN of its token')
      .option('--root-passphrase-file <file>', 'passphrase of the root, or PIN of its token')
      .option('--pkcs11-module <path>', 'shared library of the PKCS#11 token that holds keys')
      .option('--pkcs11-token <label>', 'token that holds the keys of the issuing CAs')
      .option('--pkcs11-root-token <label>', "token that holds the root's key; without it: an encrypted file")
      .action((options: Options) => init(context.session(), options)),
    context,
    'init --trust-domain acme.internal --address 10.0.0.5',
    'init --trust-domain try.internal --dev',
  )

/** @throws MeshError USAGE */
function tokensOf({ pkcs11Module, pkcs11Token, pkcs11RootToken }: Options, { cwd }: Session): Tokens | null {
  if (pkcs11Module === undefined && pkcs11Token === undefined && pkcs11RootToken === undefined) return null
  if (pkcs11Module === undefined || pkcs11Token === undefined)
    throw new MeshError('USAGE', 'keys on a token need --pkcs11-module PATH and --pkcs11-token LABEL', {
      hint: 'give both',
    })
  const rootToken = pkcs11RootToken ?? null
  return { module: path.resolve(cwd, pkcs11Module), issuingToken: pkcs11Token, rootToken }
}

async function init(session: Session, options: Options): Promise<void> {
  const { home, out, dev, clock } = session
  const files = { config: path.join(home, 'config.yaml'), policy: path.join(home, 'policy.yaml') }
  for (const file of [files.config, path.join(home, 'ca')]) {
    if (existsSync(file)) throw new MeshError('CONFIG_EXISTS', `${file} exists already`)
  }
  const tokens = tokensOf(options, session)
  const passphrases = await readNewPassphrases(
    session,
    { root: options.rootPassphraseFile, issuing: options.passphraseFile },
    { root: tokens !== null && tokens.rootToken !== null, issuing: tokens !== null },
  )
  makePrivateDir(home)
  const { trustDomain, address } = options
  const { initCa } = await import('../../ca/init.js')
  const made = await initCa({ home, trustDomain, address, dev, passphrases, tokens, clock })
  const chosen = { trustDomain, address, ...(dev ? { dev: 'true' } : {}) }
  writeFileAtomic(files.config, formatConfig(chosen), 0o600)
  if (!existsSync(files.policy)) writeFileAtomic(files.policy, STARTING_POLICY, 0o644)

  if (session.json) {
    out.json({ home, trustDomain, address, dev, ...made })
    return
  }
  const fields = [
    ['trust domain', trustDomain],
    ['root', `sha256:${made.rootFingerprint}, until ${formatInstant(made.rootNotAfter)}`],
    ['issuing CA', `until ${formatInstant(made.issuingNotAfter)}`],
    ['settings', files.config],
    ['policy', `${files.policy} (grants nothing yet)`],
  ] as const
  for (const line of formatFields(fields)) out.line(line)
  if (dev) out.say('dev: the passphrases lie beside the keys; for trying out only')
  out.say(`next: ${asTyped(session, 'up')}`)
}

const STARTING_POLICY = `# Who may call what. Everything that is not written here is denied. After a change: troth policy push
version: 1

# Scopes that agents hold. id: agent/NAME, a pattern such as agent/web-*, or a whole SPIFFE ID; tickets:* is every action.
agents: []
#  - id: agent/planner
#    scopes: [tickets:read]

# The scope that each operation of an agent needs. In a path * is one segment and ** any rest.
services: []
#  - id: agent/tickets
#    operations:
#      - match: { method: GET, path: /tickets/** }
#        scope: tickets:read
`
