// troth ca crl: the revocation lists in force, for verifiers that read CRLs: as PEM (Node and OpenSSL want root and issuing CA
// together), as the DER of one, or decoded.

import path from 'node:path'
import { Command, Option } from 'commander'
import { writeFileAtomic } from '../../../host/files.js'
import { MeshError } from '../../../mesh/errors.js'
import { formatPem } from '../../../mesh/pem.js'
import type { CrlInfo } from '../../../mesh/wire/admin.js'
import { adminClient } from '../../admin-client.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { printable } from '../../output.js'
import type { Session } from '../../session.js'

interface Options {
  readonly issuer?: string
  readonly out?: string
  readonly pem?: true
  readonly der?: true
  readonly text?: true
}

export const crlCommand: DefineCommand = (context) =>
  withExamples(
    new Command('crl')
      .description('the revocation lists of the root and the issuing CA, as PEM; with --json what there is')
      .option('--issuer <ca>', 'of one only: root, issuing, or the hash that --json shows')
      .option('--out <file>', 'write it there')
      .addOption(new Option('--pem', 'X509 CRL blocks (the default)').conflicts(['der', 'text']))
      .addOption(
        new Option('--der', 'one list, binary: with --out; the one of --issuer, else issuing').conflicts(
          'text',
        ),
      )
      .option('--text', 'decoded for people')
      .action((options: Options) => crl(context.session(), options)),
    context,
    'ca crl --out crls.pem',
    'ca crl --issuer issuing --text',
  )

async function crl(session: Session, options: Options): Promise<void> {
  const { out, json, cwd } = session
  const admin = adminClient(session)
  if (options.der === true && options.out === undefined)
    throw new MeshError('USAGE', 'a list in DER is not for a terminal', { hint: 'add --out FILE' })
  const wanted = await chosen(options, await admin.crls())
  if (json && options.out === undefined) {
    for (const each of wanted) out.json(each)
    return
  }
  const lists = await Promise.all(wanted.map(({ issuer }) => admin.crl(issuer)))
  const content = await encoded(options, lists)
  if (options.out === undefined) {
    for (const line of content.toString('utf8').trimEnd().split('\n')) out.line(line)
    return
  }
  const file = path.resolve(cwd, options.out)
  writeFileAtomic(file, content, 0o644)
  if (json) out.json({ file, lists: wanted })
  else out.say(`wrote ${file}: ${wanted.map(({ usage, number }) => `${usage} CRL ${number}`).join(', ')}`)
}

/** @throws MeshError CRL_NONE */
async function chosen({ issuer, der }: Options, all: readonly CrlInfo[]): Promise<CrlInfo[]> {
  const name = issuer ?? (der === true ? 'issuing' : undefined)
  if (name === undefined) return [...all]
  // the first of a usage is the one in use
  const found = all.find(({ usage, issuer: hash }) => usage === name || hash === name.toLowerCase())
  if (found === undefined)
    throw new MeshError('CRL_NONE', `there is no revocation list of ${JSON.stringify(name)}`, {
      hint: 'see which there are: troth ca crl --json',
    })
  return Promise.resolve([found])
}

async function encoded({ der, text }: Options, lists: readonly Buffer[]): Promise<Buffer> {
  if (der === true) return Buffer.concat(lists)
  if (text !== true) return Buffer.from(lists.map((list) => formatPem('X509 CRL', list)).join(''))
  // loaded when needed: an ASN.1 parser is slow to start
  const { crlText } = await import('../../../mesh/certificate-text.js')
  return Buffer.from(`${lists.flatMap(crlText).map(printable).join('\n')}\n`)
}
