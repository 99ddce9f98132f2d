// troth cert export: a key and its certificates, as `troth cert issue` wrote them, as one PKCS#12 file for a browser, Java or the like.
// The CA has no part in it: it never had the key.

import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { Command } from 'commander'
import { readIfThere, readSecret, writeSecret } from '../../../host/files.js'
import { MeshError } from '../../../mesh/errors.js'
import { splitPem } from '../../../mesh/trust-bundle.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { readGiven } from '../../given-file.js'
import { readNewFilePassphrase } from '../../passphrase.js'
import type { Session } from '../../session.js'

interface Options {
  readonly key?: string
  readonly cert?: string
  readonly p12: string
  readonly passphraseFile?: string
}

export const exportCommand: DefineCommand = (context) =>
  withExamples(
    new Command('export')
      .description('put a key and its certificates into one PKCS#12 file, under a passphrase')
      .argument('[dir]', 'where cert issue wrote key.pem, cert.pem and bundle.pem')
      .option('--key <file>', 'instead of the directory: the private key, PEM')
      .option('--cert <file>', 'instead of the directory: its certificate and those above it, PEM')
      .requiredOption('--p12 <file>', 'where it is written')
      .option('--passphrase-file <file>', 'its passphrase (asked for on a terminal)')
      .action((dir: string | undefined, options: Options) => exportKey(context.session(), dir, options)),
    context,
    'cert export ./nightly-job --p12 nightly-job.p12',
    'cert export --key key.pem --cert chain.pem --p12 job.p12 --passphrase-file secret',
  )

async function exportKey(session: Session, dir: string | undefined, options: Options): Promise<void> {
  const { cwd, out, json } = session
  const file = path.resolve(cwd, options.p12)
  if (existsSync(file))
    throw new MeshError('CONFIG_EXISTS', `${file} exists already`, { hint: 'name another with --p12' })
  const { key, certificates } = readPair(placesOf(cwd, dir, options))
  const given = options.passphraseFile
  const passphrase = await readNewFilePassphrase(session, given, 'passphrase of the PKCS#12 file')
  // Java refuses others, and the rest disagree how to encode them
  if (!/^[\x20-\x7e]+$/.test(passphrase))
    throw new MeshError('CONFIG_INVALID', 'the passphrase of a PKCS#12 file is of printable ASCII', {
      hint: 'choose one of letters, digits and punctuation',
    })
  // loaded when needed
  const { makePkcs12 } = await import('../../pkcs12.js')
  const keyDer = key.export({ format: 'der', type: 'pkcs8' })
  const friendlyName = nameOf(certificates[0])
  writeSecret(file, makePkcs12({ keyDer, certificates, friendlyName, passphrase }))
  if (json) out.json({ file, name: friendlyName, certificates: certificates.length })
  else {
    out.line(file)
    out.say(
      `${friendlyName}: the key and ${certificates.length} certificates, for the owner of the passphrase`,
    )
  }
}

interface Places {
  readonly key: string
  readonly cert: string
  /** Roots; none when there is no such file. */
  readonly bundle: string | null
}

/** @throws MeshError USAGE */
function placesOf(cwd: string, dir: string | undefined, { key, cert }: Options): Places {
  const at = (...parts: string[]): string => path.resolve(cwd, ...parts)
  if (dir !== undefined && key === undefined && cert === undefined)
    return { key: at(dir, 'key.pem'), cert: at(dir, 'cert.pem'), bundle: at(dir, 'bundle.pem') }
  if (dir === undefined && key !== undefined && cert !== undefined)
    return { key: at(key), cert: at(cert), bundle: null }
  throw new MeshError('USAGE', 'it takes a directory, or --key and --cert')
}

/** @throws MeshError CONFIG_MISSING | STATE_UNREADABLE | STATE_PERMISSIONS | PEER_CERT_MALFORMED | CERT_KEY_MISMATCH */
function readPair({ key: keyFile, cert, bundle }: Places): {
  key: KeyObject
  certificates: X509Certificate[]
} {
  const hint = 'name what troth cert issue wrote'
  const key = readKey(keyFile, readGiven(keyFile, hint, readSecret))
  const chain = splitPem(readGiven(cert, hint))
  const [own] = chain
  if (own === undefined || !own.checkPrivateKey(key))
    throw new MeshError('CERT_KEY_MISMATCH', `${keyFile} is not the key of ${cert}`)
  const roots = bundle === null ? [] : splitPem(readIfThere(bundle) ?? '')
  const others = roots.filter((root) => chain.every((each) => !each.raw.equals(root.raw)))
  return { key, certificates: [...chain, ...others] }
}

/** The cause would quote the key. @throws MeshError STATE_UNREADABLE */
function readKey(file: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    throw new MeshError('STATE_UNREADABLE', `${file} is not an unencrypted private key`, {
      hint: 'name the key.pem that troth cert issue wrote',
    })
  }
}

const nameOf = (certificate: X509Certificate | undefined): string =>
  /^CN=(.*)$/m.exec(certificate?.subject ?? '')?.[1] ?? 'troth'
