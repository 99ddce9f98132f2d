// troth cert show: one certificate as a person wants to know it: whose, what for, how long, whether it still counts. By its serial
// the CA is asked; a PEM file is read here and says only what it says itself.

import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { Command, Option } from 'commander'
import { type Certificate, readCertificate } from '../../../mesh/certificate.js'
import { formatDuration } from '../../../mesh/duration.js'
import { fingerprintOf, splitPem } from '../../../mesh/trust-bundle.js'
import type { CertInfo } from '../../../mesh/wire/admin.js'
import { adminClient } from '../../admin-client.js'
import { type DefineCommand, withExamples } from '../../command.js'
import { readGiven } from '../../given-file.js'
import { formatFields, formatInstant, printable } from '../../output.js'
import type { Session } from '../../session.js'
import { serialNumber, stateOf } from './state.js'

interface Options {
  readonly text?: true
  readonly pem?: true
}

export const showCommand: DefineCommand = (context) =>
  withExamples(
    new Command('show')
      .description('show a certificate of this CA, or those of a PEM file')
      .argument('<serial|file>', 'hexadecimal, or the name of a file')
      .addOption(new Option('--text', 'every field and extension, decoded').conflicts('pem'))
      .option('--pem', 'as PEM')
      .action((what: string, options: Options) => show(context.session(), what, options)),
    context,
    'cert show 5f0c2a9d41e8b7730c6d1e9a552f0c6d',
    'cert show ./nightly-job/cert.pem --text',
  )

/** A certificate, and what the CA knows of it; null when only a file was read. */
interface Shown {
  readonly certificate: X509Certificate
  readonly info: CertInfo | null
}

async function show(session: Session, what: string, options: Options): Promise<void> {
  const shown = await find(session, what)
  for (const [index, each] of shown.entries()) {
    if (index > 0 && options.pem !== true && !session.json) session.out.line('')
    for (const line of await linesOf(session, each, options)) session.out.line(line)
  }
}

/** @throws MeshError CERT_UNKNOWN | CONFIG_MISSING | PEER_CERT_MALFORMED; USAGE when it is neither a file nor a serial */
async function find(session: Session, what: string): Promise<Shown[]> {
  const file = path.resolve(session.cwd, what)
  if (existsSync(file) || /[/.]/.test(what)) {
    const pem = readGiven(file, 'name a PEM file, or a serial: troth cert list')
    return splitPem(pem).map((certificate) => ({ certificate, info: null }))
  }
  const info = await adminClient(session).cert(serialNumber(what))
  return [{ certificate: new X509Certificate(info.pem), info }]
}

async function linesOf(
  { json, clock }: Session,
  { certificate, info }: Shown,
  { text, pem }: Options,
): Promise<string[]> {
  if (json) return [JSON.stringify(info ?? fileInfo(certificate))]
  if (pem === true) return certificate.toString().trimEnd().split('\n')
  if (text !== true) return formatFields(fieldsOf(certificate, info, clock.now()))
  // loaded when needed: an ASN.1 parser is slow to start
  const { certificateText } = await import('../../../mesh/certificate-text.js')
  return certificateText(certificate).map(printable)
}

type Field = readonly [string, string]

function fieldsOf(certificate: X509Certificate, info: CertInfo | null, now: number): Field[] {
  const says = readCertificate(certificate)
  return [
    ['id', says.uris.join(', ') || 'none: it has no URI'],
    ['for', purposeOf(says)],
    ['status', statusOf(says, info, now)],
    ['valid', `from ${instantOf(says.notBefore, now)}`],
    ['until', instantOf(says.notAfter, now)],
    ['serial', says.serial],
    ['instance', info?.instanceId ?? says.subjectSerialNumber ?? 'none'],
    ...(info === null ? [] : historyOf(info, now)),
    ['names', certificate.subjectAltName ?? 'none'],
    ['issuer', certificate.issuer.replaceAll('\n', ', ')],
    ['fingerprint', `SHA-256 ${fingerprintOf(certificate)}`],
  ]
}

function historyOf(info: CertInfo, now: number): Field[] {
  const { issuedAt, by, parentSerial, supersededAt, revokedAt, revokedReason, revokedFor } = info
  return [
    ['issued', `${instantOf(issuedAt, now)}, by ${by}`],
    ...(parentSerial === null ? [] : [['renewed from', parentSerial] as const]),
    ...(supersededAt === null ? [] : [['replaced', instantOf(supersededAt, now)] as const]),
    ...(revokedAt === null
      ? []
      : [
          [
            revokedFor ?? 'revoked',
            `${instantOf(revokedAt, now)}: ${revokedReason ?? 'no reason kept'}`,
          ] as const,
        ]),
  ]
}

function purposeOf({ isCa, pathLength, extendedKeyUsage }: Certificate): string {
  if (isCa) return pathLength === 0 ? 'signing certificates (issuing CA)' : 'signing other CAs (root)'
  const usages = (extendedKeyUsage ?? []).map((usage) => USAGES.get(usage) ?? usage)
  return usages.length === 0 ? 'any use of TLS' : `TLS as ${usages.join(' and ')}`
}

const USAGES = new Map([
  ['1.3.6.1.5.5.7.3.1', 'server'],
  ['1.3.6.1.5.5.7.3.2', 'client'],
])

function statusOf({ notBefore, notAfter }: Certificate, info: CertInfo | null, now: number): string {
  if (info !== null) return stateOf(info, now)
  if (now < notBefore) return 'not valid yet'
  return now < notAfter ? 'valid by its dates; only the CA knows whether it was revoked' : 'expired'
}

/** `2026-11-22T10:00:00Z, in 3h`. */
function instantOf(at: number, now: number): string {
  const distance = Math.abs(at - now)
  if (distance < 1000) return `${formatInstant(at)}, now`
  return `${formatInstant(at)}, ${at > now ? `in ${formatDuration(distance)}` : `${formatDuration(distance)} ago`}`
}

function fileInfo(certificate: X509Certificate): Record<string, unknown> {
  const { uris, serial, notBefore, notAfter, isCa, subjectSerialNumber } = readCertificate(certificate)
  return {
    serial,
    id: uris[0] ?? null,
    instanceId: subjectSerialNumber,
    notBefore,
    notAfter,
    isCa,
    subject: certificate.subject.replaceAll('\n', ', '),
    issuer: certificate.issuer.replaceAll('\n', ', '),
    fingerprint: fingerprintOf(certificate),
    pem: certificate.toString(),
  }
}
