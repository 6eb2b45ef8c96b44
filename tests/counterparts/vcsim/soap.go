package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const envelope = `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ` +
	`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">` +
	`<soapenv:Body>%s</soapenv:Body></soapenv:Envelope>`

var knownTypes = types.TypeFunc()

// typeNamed finds a type by its name, with or without a prefix of a namespace.
func typeNamed(name string) (reflect.Type, bool) {
	return knownTypes(name)
}

// parse returns what a request asks for.
func parse(body []byte) (*simulator.Method, error) {
	return simulator.UnmarshalBody(typeNamed, body)
}

func escaped(text string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, envelope, body)
}

// answerFault tells a fault; `fields` is the XML inside it.
func answerFault(w http.ResponseWriter, kind, fields, message string) {
	answer(w, http.StatusInternalServerError, fmt.Sprintf(
		`<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring><detail>`+
			`<%sFault xmlns="urn:vim25" xsi:type="%s">%s</%sFault></detail></soapenv:Fault>`,
		escaped(message), kind, kind, fields, kind))
}

func answerReference(w http.ResponseWriter, method string, ref types.ManagedObjectReference) {
	answer(w, http.StatusOK, fmt.Sprintf(
		`<%sResponse xmlns="urn:vim25"><returnval type="%s">%s</returnval></%sResponse>`,
		method, ref.Type, escaped(ref.Value), method))
}

// faultNamed makes a fault of the API by its name.
func faultNamed(name string) types.BaseMethodFault {
	if kind, ok := knownTypes(name); ok {
		if fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault); ok {
			return fault
		}
	}
	return &types.NotSupported{}
}

// answerTask begins a task that the front itself carries out.
func answerTask(
	w http.ResponseWriter, method *simulator.Method, run func() types.BaseMethodFault,
) {
	task := simulator.CreateTask(method.This, method.Name,
		func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, run() })
	answerReference(w, method.Name, task.Run())
}
