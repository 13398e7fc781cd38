package tpm

import (
	"errors"

	"github.com/google/go-tpm/tpm2"
)

// ErrNoIndex means that the NV index does not exist.
var ErrNoIndex = errors.New("no such NV index")

// ErrNoObject means that there is no object at the handle.
var ErrNoObject = errors.New("no object at this handle")

const nvPiece = 512 // bytes; every TPM gives as many at once

// NVPublic reads the public area and Name of an NV index; ErrNoIndex if there
// is none. The Name changes when the index is first written.
func (t *TPM) NVPublic(index tpm2.TPMHandle) (tpm2.TPMSNVPublic, tpm2.TPM2BName, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return tpm2.TPMSNVPublic{}, tpm2.TPM2BName{}, ErrNoIndex
	}
	if err != nil {
		return tpm2.TPMSNVPublic{}, tpm2.TPM2BName{}, err
	}
	pub, err := rsp.NVPublic.Contents()
	if err != nil {
		return tpm2.TPMSNVPublic{}, tpm2.TPM2BName{}, err
	}
	return *pub, rsp.NVName, nil
}

// ReadNV reads a whole NV index that anybody may read by its empty auth value:
// certificates of the maker. ErrNoIndex if there is none or nothing in it.
func (t *TPM) ReadNV(index tpm2.TPMHandle) ([]byte, error) {
	pub, name, err := t.NVPublic(index)
	if err != nil {
		return nil, err
	}
	if !pub.Attributes.Written {
		return nil, ErrNoIndex
	}
	auth := tpm2.AuthHandle{Handle: index, Name: name, Auth: tpm2.PasswordAuth(nil)}
	data := make([]byte, 0, pub.DataSize)
	for len(data) < int(pub.DataSize) {
		rsp, err := tpm2.NVRead{AuthHandle: auth, NVIndex: tpm2.NamedHandle{Handle: index, Name: name},
			Size: uint16(min(nvPiece, int(pub.DataSize)-len(data))), Offset: uint16(len(data))}.Execute(t)
		if err != nil {
			return nil, err
		}
		if len(rsp.Data.Buffer) == 0 {
			return nil, errors.New("NV index gives no more data before its end")
		}
		data = append(data, rsp.Data.Buffer...)
	}
	return data, nil
}

// ReadPublic reads the public area and Name of an object; ErrNoObject if there
// is none. Nothing protects the answer: compare the Name with a known one.
func (t *TPM) ReadPublic(h tpm2.TPMHandle) (tpm2.TPMTPublic, tpm2.TPM2BName, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return tpm2.TPMTPublic{}, tpm2.TPM2BName{}, ErrNoObject
	}
	if err != nil {
		return tpm2.TPMTPublic{}, tpm2.TPM2BName{}, err
	}
	pub, err := rsp.OutPublic.Contents()
	if err != nil {
		return tpm2.TPMTPublic{}, tpm2.TPM2BName{}, err
	}
	name, err := tpm2.ObjectName(pub)
	if err != nil {
		return tpm2.TPMTPublic{}, tpm2.TPM2BName{}, err
	}
	return *pub, *name, nil
}
