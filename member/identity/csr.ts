// Key pairs and certificate requests (RFC 2986). The key is ECDSA P-256 and never leaves this host; the request asks for nothing
// but a name: the CA sets every field itself.

/** What a request is made for. */
export interface CsrSubject {
  readonly commonName: string
  /** UUID, the subject's serialNumber attribute. */
  readonly instanceId: string
}

/** PKCS#8 and PKCS#10, both PEM. */
export interface KeyAndCsr {
  readonly keyPem: string
  readonly csrPem: string
}

export declare function makeKeyAndCsr(subject: CsrSubject): Promise<KeyAndCsr>
/** A request for a key that exists. */
export declare function makeCsr(keyPem: string, subject: CsrSubject): Promise<string>
