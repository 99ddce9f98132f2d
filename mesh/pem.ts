// DER as PEM text, written as Node and openssl do (RFC 7468 §3): what is read is read where it is judged.

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'ENCRYPTED PRIVATE KEY' | 'X509 CRL'

const LINE = 64

export function formatPem(label: PemLabel, der: Buffer): string {
  const text = der.toString('base64')
  let lines = ''
  for (let at = 0; at < text.length; at += LINE) lines += `${text.slice(at, at + LINE)}\n`
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`
}
